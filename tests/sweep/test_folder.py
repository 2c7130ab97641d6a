"""A sweep's memory on disk."""

from __future__ import annotations

import pytest

from gensweep.errors import ConfigError
from gensweep.files import write_text
from gensweep.sweep.checkpoints import delete, fetch, store
from gensweep.sweep.folder import SweepFolder


def test_a_torn_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "t.json"
    write_text(file, "old")
    (tmp_path / ".t.json.1").write_text("ne")  # a crash before the rename
    assert file.read_text() == "old"
    write_text(file, "new")
    assert file.read_text() == "new"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 101])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot name a sweep"):
        SweepFolder(tmp_path, name)


def test_a_sweep_exists_once_its_settings_are_written(tmp_path):
    folder = SweepFolder(tmp_path, "a")
    with folder.locked():
        assert not folder.exists
        folder.create({"trials": 3})
    assert folder.exists
    assert folder.settings == {"trials": 3}


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_checkpoint_comes_back_as_it_was_from_a_folder_and_from_a_url(tmp_path, scheme):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "state").write_bytes(b"\x00\x01")
    (source / "sub" / "more").write_text("text")
    uri, cache = f"{scheme}{tmp_path}/store/t0000/000000000100", tmp_path / "cache"
    store(source, uri)
    local = fetch(uri, cache)
    assert fetch(uri, cache) == local
    assert (local / "state").read_bytes() == b"\x00\x01"
    assert (local / "sub" / "more").read_text() == "text"
    assert [p.name for p in (tmp_path / "store" / "t0000").iterdir()] == ["000000000100"]
    assert [p.name for p in cache.glob("*")] == (["000000000100"] if scheme else [])
    delete(uri, cache)
    delete(uri, cache)
    assert not list(cache.glob("*"))
    assert not (tmp_path / "store" / "t0000" / "000000000100").exists()


def test_storing_again_replaces_what_was_there(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "old").write_text("old")
    uri = str(tmp_path / "store")
    store(source, uri)
    (source / "old").rename(source / "new")
    store(source, uri)
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["new"]


def test_a_copy_that_was_interrupted_is_made_again(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "state").write_text("whole")
    uri, cache = f"file://{tmp_path}/store/000000000100", tmp_path / "cache"
    store(source, uri)
    part = cache / ".000000000100.part"
    part.mkdir(parents=True)
    (part / "half").write_text("of it")
    assert [p.name for p in fetch(uri, cache).iterdir()] == ["state"]


def test_a_picture_that_never_changes_is_kept_once_a_trial_and_others_at_every_evaluation(tmp_path):
    folder, source = SweepFolder(tmp_path, "a"), tmp_path / "picture.png"
    source.write_bytes(b"png")
    for trial in ("t0000", "t0001"):
        for images in (10, 20):
            for key in ("samples", "real"):
                folder.keep_picture(trial, images, key, source)
        kept = sorted(file.name for file in (folder.path / "pictures" / trial).iterdir())
        assert kept == ["000000000010-real.png", "000000000010-samples.png", "000000000020-samples.png"]
