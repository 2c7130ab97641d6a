"""A sweep's memory on disk."""

from __future__ import annotations

import pytest

from gensweep.errors import ConfigError
from gensweep.files import write_text
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.storage import delete, fetch, persist


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
    place = persist(source, f"{scheme}{tmp_path}/store/t0000/000000000100")
    local = fetch(place, tmp_path / "copy")
    assert (local / "state").read_bytes() == b"\x00\x01"
    assert (local / "sub" / "more").read_text() == "text"
    assert [p.name for p in (tmp_path / "store" / "t0000").iterdir()] == ["000000000100"]
    delete(place)
    delete(place)
    assert not (tmp_path / "store" / "t0000" / "000000000100").exists()


def test_storing_again_replaces_what_was_there(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "old").write_text("old")
    place = persist(source, str(tmp_path / "store"))
    (source / "old").rename(source / "new")
    persist(source, place)
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["new"]
