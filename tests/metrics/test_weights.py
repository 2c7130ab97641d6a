import hashlib
from pathlib import Path

import pytest
import untrained

from gensweep.errors import ConfigError, GensweepError
from gensweep.metrics.weights import WeightsFile

CONTENT = b"weights" * 1000


@pytest.fixture
def published(tmp_path: Path) -> WeightsFile:
    file = tmp_path / "elsewhere" / "net.pth"
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    return WeightsFile(file.as_uri(), hashlib.sha256(CONTENT).hexdigest()[:8], "net")


def test_given_file_is_used_where_it_is(published: WeightsFile, tmp_path: Path):
    given = tmp_path / "mine.pth"
    given.write_bytes(CONTENT)
    assert published.locate(str(given), tmp_path / "cache") == given
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ConfigError, match=r"nowhere\.pth is not a file; download file://"):
        published.locate("nowhere.pth", tmp_path)


def test_is_downloaded_once_to_the_cache(published: WeightsFile, tmp_path: Path):
    file = published.locate(None, tmp_path / "cache")
    assert file == tmp_path / "cache" / "weights" / "net.pth"
    assert file.read_bytes() == CONTENT
    (tmp_path / "elsewhere" / "net.pth").unlink()
    assert published.locate(None, tmp_path / "cache") == file


def test_other_content_is_never_trusted(published: WeightsFile, tmp_path: Path):
    (tmp_path / "elsewhere" / "net.pth").write_bytes(b"an error page")
    with pytest.raises(GensweepError, match=r"is damaged or not net.pth: its SHA-256 does not start with"):
        published.locate(None, tmp_path / "cache")
    assert [left.name for left in (tmp_path / "cache" / "weights").iterdir()] == [".net.pth.lock"]
    with pytest.raises(GensweepError, match="SHA-256 does not start with"):
        published.locate(str(tmp_path / "elsewhere" / "net.pth"), tmp_path / "cache")


def test_a_sweep_is_refused_without_its_weights_before_it_starts(tmp_path: Path, monkeypatch):
    from gensweep.build.parts import check_inputs

    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path))
    trial = untrained.config("gan").with_overrides({"evaluation.extractor.kind": "inception"})
    with pytest.raises(ConfigError, match="the weights of inception are missing; run: gensweep data fetch inception"):
        check_inputs([trial])
    final = {"evaluation.extractor": {"kind": "inception"}, "evaluation.metrics": ["fid"]}
    with pytest.raises(ConfigError, match=r"^final.extractor: the weights .* skip that score: --set final=null"):
        check_inputs([untrained.config("gan")], final)
