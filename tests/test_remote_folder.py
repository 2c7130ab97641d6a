"""Folders on file systems of Arrow and fsspec."""

from __future__ import annotations

from uuid import uuid4

import pytest

from gensweep import remote_folder
from gensweep.errors import ConfigError
from gensweep.remote_folder import RemoteFolder, below, is_url, split_place

PLACES = ["path", "file", "memory", "s3"]


@pytest.fixture(params=PLACES)
def place(request, tmp_path, s3):
    name = f"sweeps/{uuid4().hex[:6]}"
    return {
        "path": str(tmp_path / name),
        "file": f"file://{tmp_path}/{name}",
        "memory": f"memory://{name}",
        "s3": s3.url(name),
    }[request.param]


def test_names_below_a_url_come_before_its_options():
    url = "s3://bucket/sweeps/?region=eu-west-1&endpoint_override=http://minio:9000"
    assert below(url, "a", "b") == "s3://bucket/sweeps/a/b?region=eu-west-1&endpoint_override=http://minio:9000"
    assert split_place(below(url, "a")) == (
        "s3://bucket/sweeps?region=eu-west-1&endpoint_override=http://minio:9000",
        "a",
    )
    assert split_place("/some/where/a/") == ("/some/where", "a")
    assert (is_url(url), is_url("/a/b"), is_url("a?b")) == (True, False, False)


def test_files_come_back_as_they_were_and_go(place, tmp_path):
    folder = RemoteFolder(place)
    assert folder.files() == {}
    assert folder.state("a") is None
    folder.write("a", b"one")
    folder.write("a", b"other")
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 100)
    folder.upload(source, "below/b")
    assert {name: state.size for name, state in folder.files().items()} == {"a": 5, "below/b": 25600}
    assert folder.read("a") == b"other"
    folder.download("below/b", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    with pytest.raises(FileNotFoundError):
        folder.read("c")
    for _ in range(2):
        folder.delete("a")
        assert list(folder.files()) == ["below/b"]
    for _ in range(2):
        folder.delete_all()
        assert folder.files() == {}


@pytest.mark.parametrize("now", [b"a short one", b"a content that is longer than the one before"])
def test_an_object_that_is_replaced_while_it_is_read_comes_whole(s3, monkeypatch, now):
    monkeypatch.setattr(remote_folder, "FIRST_PAUSE", 0.001)
    url = s3.url("sweeps")
    folder = RemoteFolder(url)
    folder.write("a", b"the content before")

    class Replaced(list):
        def append(self, request):  # comes after Arrow has asked for the size, and before the answer
            if request[0] == "GET" and not self:
                super().append(request)
                s3.put(url, "a", now)

    monkeypatch.setattr(s3, "requests", Replaced())
    assert folder.read("a") == now


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s3://bucket/x?regio=y", "Unexpected query parameter"),
        ("nosuch://bucket/x", r"nosuch:// is not supported here .*Arrow knows s3, gs"),
    ],
)
def test_unknown_url_is_refused(place, message):
    with pytest.raises(ConfigError, match=message):
        RemoteFolder(place)


#: Arrow itself asks a store for six seconds.
@pytest.mark.waits
@pytest.mark.parametrize("trouble", ["503", "gone"])
def test_a_store_that_is_away_for_a_while_is_asked_again(s3, trouble, monkeypatch):
    folder = RemoteFolder(s3.url("away"))
    s3.trouble, pauses = trouble, []

    def mend(seconds):
        pauses.append(seconds)
        s3.trouble = None

    monkeypatch.setattr("gensweep.remote_folder.time.sleep", mend)
    folder.write("a", b"arrived")
    assert folder.read("a") == b"arrived"
    assert len(pauses) == 1


@pytest.mark.waits
def test_a_store_that_stays_away_is_named_with_the_file(s3):
    folder = RemoteFolder(s3.url("away"), patience=0)
    s3.trouble = "503"
    with pytest.raises(OSError, match="away/a"):
        folder.read("a")


def test_what_would_not_change_is_not_tried_again(s3, monkeypatch):
    monkeypatch.setattr("gensweep.remote_folder.time.sleep", lambda seconds: pytest.fail("it tries again"))
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        RemoteFolder(s3.url("x").replace("bucket", "no-such-bucket", 1)).write("a", b"")
