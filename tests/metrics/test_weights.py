import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import untrained

from gensweep.errors import ConfigError, GensweepError
from gensweep.metrics import weights
from gensweep.metrics.weights import WeightsFile

CONTENT = b"weights" * 1000


@pytest.fixture
def published(tmp_path: Path) -> WeightsFile:
    file = tmp_path / "elsewhere" / "net.pth"
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    return WeightsFile(file.as_uri(), hashlib.sha256(CONTENT).hexdigest()[:8], "net")


def test_a_given_file_is_used_where_it_is(published: WeightsFile, tmp_path: Path):
    given = tmp_path / "mine.pth"
    given.write_bytes(CONTENT)
    assert published.locate(str(given), tmp_path / "cache") == given
    assert not (tmp_path / "cache").exists()


def test_is_downloaded_once_to_the_cache(published: WeightsFile, tmp_path: Path):
    file = published.locate(None, tmp_path / "cache")
    assert file == tmp_path / "cache" / "weights" / "net.pth"
    assert file.read_bytes() == CONTENT
    (tmp_path / "elsewhere" / "net.pth").unlink()
    assert published.locate(None, tmp_path / "cache") == file


def test_other_content_is_never_trusted(published: WeightsFile, tmp_path: Path):
    (tmp_path / "elsewhere" / "net.pth").write_bytes(b"an error page")
    with pytest.raises(GensweepError, match=r"is not the file that was published: its SHA-256 does not start with"):
        published.locate(None, tmp_path / "cache")
    assert [left.name for left in (tmp_path / "cache" / "weights").iterdir()] == [".net.pth.lock"]
    with pytest.raises(GensweepError, match="SHA-256 does not start with"):
        published.locate(str(tmp_path / "elsewhere" / "net.pth"), tmp_path / "cache")


def test_a_wrong_path_is_a_configuration_error(published: WeightsFile, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.pth is not a file; download file://"):
        published.locate("nowhere.pth", tmp_path)


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(weights, "PAUSE_SECONDS", 0.0)
    missing = WeightsFile((tmp_path / "missing.pth").as_uri(), "00", "net")
    with pytest.raises(GensweepError, match=r"cannot be fetched .* data fetch net; .* put it at .*missing\.pth"):
        missing.locate(None, tmp_path / "cache")


class Host:
    """A host on loopback that sends at most so many bytes an answer; one that cannot begin in the middle is `plain`."""

    def __init__(self, most: int, *, plain: bool = False) -> None:
        self.most, self.plain, self.asked = most, plain, []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range", "bytes=0-")
                host.asked.append(asked)
                start = 0 if host.plain else int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(CONTENT):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(CONTENT) - start))
                self.end_headers()
                self.wfile.write(CONTENT[start : start + host.most])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def file(self) -> WeightsFile:
        port = self.server.server_address[1]
        return WeightsFile(f"http://127.0.0.1:{port}/net.pth", hashlib.sha256(CONTENT).hexdigest()[:8], "net")


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr(weights, "PAUSE_SECONDS", 0.0)
    hosts = []

    def start(most: int, **settings) -> Host:
        hosts.append(Host(most, **settings))
        return hosts[-1]

    yield start
    for each in hosts:
        each.server.shutdown()
        each.server.server_close()


def test_a_host_that_breaks_off_is_asked_for_the_rest(host, tmp_path: Path):
    breaks_off, lines = host(3000), []
    assert breaks_off.file().fetch(tmp_path, lines.append).read_bytes() == CONTENT
    assert breaks_off.asked == ["bytes=0-", "bytes=3000-", "bytes=6000-"]
    assert lines[0].startswith("fetching net.pth")
    assert sum("the host broke off" in line for line in lines) == 2


def test_what_came_is_kept_for_the_next_call(host, tmp_path: Path):
    silent = host(0)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / ".net.pth.part").write_bytes(CONTENT[:5000])
    with pytest.raises(GensweepError, match=r"the host broke off .* that came are kept\. Try again"):
        silent.file().fetch(tmp_path)
    assert silent.asked == ["bytes=5000-"] * weights.ATTEMPTS
    silent.most = 10**6
    assert silent.file().fetch(tmp_path).read_bytes() == CONTENT


def test_a_host_that_cannot_begin_in_the_middle_sends_all_again(host, tmp_path: Path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / ".net.pth.part").write_bytes(b"x" * 5000)
    assert host(10**6, plain=True).file().fetch(tmp_path).read_bytes() == CONTENT


def test_a_whole_but_wrong_part_is_thrown_away(host, tmp_path: Path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / ".net.pth.part").write_bytes(b"x" * 5000)
    right = host(10**6)
    with pytest.raises(GensweepError, match="is not the file that was published"):
        right.file().fetch(tmp_path)
    assert right.file().fetch(tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken_and_one_that_is_too_long_is_not(host, tmp_path: Path):
    (tmp_path / "weights").mkdir()
    part, right = tmp_path / "weights" / ".net.pth.part", host(10**6)
    part.write_bytes(CONTENT)
    assert right.file().fetch(tmp_path).read_bytes() == CONTENT
    assert right.asked == []
    (tmp_path / "weights" / "net.pth").unlink()
    part.write_bytes(CONTENT + b"x")
    assert right.file().fetch(tmp_path).read_bytes() == CONTENT


def test_a_sweep_is_refused_without_its_weights_before_it_starts(tmp_path: Path, monkeypatch):
    from gensweep.build.parts import check_inputs

    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path))
    trial = untrained.config("gan").with_overrides({"evaluation.extractor.kind": "inception"})
    with pytest.raises(ConfigError, match="the weights of inception are not here; run: gensweep data fetch inception"):
        check_inputs([trial])
    final = {"evaluation.extractor": {"kind": "inception"}, "evaluation.metrics": ["fid"]}
    with pytest.raises(ConfigError, match=r"^final.extractor: the weights .* leave that score out: --set final=null"):
        check_inputs([untrained.config("gan")], final)
