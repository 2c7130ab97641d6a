"""Checkpoints in a storage: complete or absent, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from uuid import uuid4

import pytest

from gensweep.errors import GensweepError
from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.checkpoints import (
    MANIFEST,
    IncompleteCheckpointError,
    checkpoint_place,
    delete,
    fetch,
    fetch_file,
    store,
    unused_checkpoints,
)

FILES = {"state": b"\x00\x01" * 1000, "sub/more": b"text", "samples.png": b"png"}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def root(s3):
    """Of a sweep in a bucket, with its owner's record."""
    place = s3.url(f"sweeps/{uuid4().hex[:6]}")
    RemoteFolder(place).write("owner.json", b"{}")
    s3.requests.clear()
    return place


def content(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("kind", ["path", "file", "memory", "s3"])
def test_a_checkpoint_comes_back_as_it_was(tmp_path, source, s3, kind):
    name = uuid4().hex[:6]
    places = {"path": "", "file": f"file://{tmp_path}/", "memory": "memory://", "s3": s3.url("")}
    uri = checkpoint_place(below(places[kind] or str(tmp_path), name), "t0000/000000000100")
    copy = tmp_path / "cache" / "copy"
    store(source, uri)
    store(source, uri)
    local = fetch(uri, copy)
    assert fetch(uri, copy) == local
    assert content(local) == FILES
    assert list(copy.parent.glob("*")) == ([] if kind == "path" else [copy])
    assert fetch_file(uri, "samples.png", tmp_path / "kept" / "a.png")
    assert (tmp_path / "kept" / "a.png").read_bytes() == b"png"
    assert not fetch_file(uri, "real.png", tmp_path / "kept" / "b.png")
    delete(uri)
    delete(uri)
    with pytest.raises(IncompleteCheckpointError) if kind != "path" else pytest.raises(AssertionError):
        assert fetch(uri, tmp_path / "another").exists()


def test_storing_again_replaces_what_was_there(tmp_path, source, root):
    for uri in (str(tmp_path / "store"), checkpoint_place(root, "t0000/000000000100")):
        store(source, uri)
        (source / "state").rename(source / "new")
        store(source, uri)
        copy = fetch(uri, tmp_path / uuid4().hex)
        assert {"new"} <= content(copy).keys()
        assert "state" not in content(copy)
        (source / "new").rename(source / "state")


def test_a_full_disk_keeps_no_half_of_a_checkpoint(tmp_path, source, monkeypatch):
    def is_full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copy2", is_full)
    monkeypatch.setattr(os, "fsync", is_full)
    with pytest.raises(OSError, match="No space left"):
        store(source, str(tmp_path / "sweep" / "t0000" / "000000000100"))
    assert list((tmp_path / "sweep" / "t0000").iterdir()) == []


def test_an_upload_that_is_interrupted_goes_on_file_by_file(source, root, s3, monkeypatch):
    uri, sent = checkpoint_place(root, "t0000/000000000100"), []
    upload = RemoteFolder._write

    def once_refused(self, name, fill):
        sent.append(name)
        if sent.count(name) == 1 and name == "sub/more":
            raise OSError("away")
        upload(self, name, fill)

    monkeypatch.setattr(RemoteFolder, "_write", once_refused)
    store(source, uri)
    assert sorted(sent) == [MANIFEST, "samples.png", "state", "sub/more", "sub/more"]
    assert sent[-1] == MANIFEST


@pytest.mark.parametrize("damage", ["a missing file", "a changed file", "no manifest", "a torn manifest"])
def test_a_checkpoint_that_is_not_whole_is_told_and_leaves_nothing(tmp_path, source, root, damage):
    uri = checkpoint_place(root, "t0000/000000000100")
    store(source, uri)
    remote = RemoteFolder(uri)
    match damage:
        case "a missing file":
            remote.delete("state")
        case "a changed file":
            remote.write("state", b"\x00\x02" * 1000)
        case "no manifest":
            remote.delete(MANIFEST)
        case "a torn manifest":
            remote.write(MANIFEST, remote.read(MANIFEST)[:40])
    with pytest.raises(IncompleteCheckpointError, match="000000000100"):
        fetch(uri, tmp_path / "cache" / "copy")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_copy_that_was_interrupted_is_made_again(tmp_path, source, root):
    uri, cache = checkpoint_place(root, "t0000/000000000100"), tmp_path / "cache" / "copy"
    store(source, uri)
    part = cache.with_name(".copy.part")
    part.mkdir(parents=True)
    (part / "half").write_text("of it")
    assert content(fetch(uri, cache)) == FILES


def test_concurrent_commands_can_fetch_the_same_checkpoint(tmp_path, source, root, monkeypatch):
    uri, cache = checkpoint_place(root, "t0000/000000000100"), tmp_path / "cache" / "copy"
    store(source, uri)
    download, begun, others = RemoteFolder.download, threading.Event(), []

    def slow(folder, name, file):
        """The first command has its first file when the other one begins, and ends after it."""
        download(folder, name, file)
        if not begun.is_set():
            begun.set()
            others.append(fetch(uri, cache))

    monkeypatch.setattr(RemoteFolder, "download", slow)
    monkeypatch.setattr("gensweep.sweep.checkpoints.TRANSFERS_AT_ONCE", 1)
    assert [fetch(uri, cache), *others] == [cache] * 2
    assert content(cache) == FILES
    assert list(cache.parent.iterdir()) == [cache]


def test_a_picture_costs_one_request_and_not_the_whole_checkpoint(tmp_path, source, root, s3):
    uri = checkpoint_place(root, "t0000/000000000100")
    store(source, uri)
    s3.requests.clear()
    fetch_file(uri, "samples.png", tmp_path / "a.png")
    assert {path.partition("?")[0].rpartition("/")[2] for _, path in s3.requests} == {"samples.png"}


def test_what_nobody_needs_is_found(tmp_path, source, root):
    for trial, images in (("t0000", 100), ("t0000", 200), ("t0001", 100)):
        store(source, checkpoint_place(root, f"{trial}/{images:012d}"))
    RemoteFolder(checkpoint_place(root, "t0002/000000000100")).write("state", b"half an upload")
    unused = unused_checkpoints(root, {"t0000/000000000200", "t0001/000000000100"})
    assert unused == ["t0000/000000000100", "t0002/000000000100"]


@pytest.mark.parametrize("kind", ["file", "s3"])
@pytest.mark.parametrize("name", ["../../../evil.py", "/evil.py", "more/../../../../evil.py"])
def test_a_manifest_writes_nothing_outside_of_the_checkpoint(tmp_path, source, s3, kind, name):
    root = {"file": f"file://{tmp_path}/store/sweep", "s3": s3.url(f"sweeps/{uuid4().hex[:6]}")}[kind]
    uri, cache = (
        checkpoint_place(root, "t0000/000000000100"),
        tmp_path / "project/sweeps/sweep/fetched/t0000/000000000100",
    )
    store(source, uri)
    remote = RemoteFolder(uri)
    manifest = json.loads(remote.read(MANIFEST))
    manifest["files"] |= {name: manifest["files"]["state"]}
    remote.write(MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(GensweepError) as refused:
        fetch(uri, cache)
    assert repr(name) in str(refused.value)
    assert uri in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(cache.parent.rglob("*")) == []
    assert list(tmp_path.rglob("evil.py")) == []


def test_only_what_is_named_like_a_checkpoint_is_unused(tmp_path):
    root = tmp_path / "sweep"
    for name in ("t0000/000000000100/state", "letters/old/x", "t0001/notes", "t0002/.000000000100.part/state"):
        (root / "checkpoints" / name).parent.mkdir(parents=True)
        (root / "checkpoints" / name).touch()
    assert unused_checkpoints(str(root), ()) == ["t0000/000000000100"]
