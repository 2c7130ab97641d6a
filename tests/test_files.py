"""Files and folders that are replaced as a whole, whatever goes wrong."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from gensweep.errors import GensweepError
from gensweep.files import (
    nearest_folder,
    path_within,
    replace_folder,
    replacing,
    write_bytes,
    write_problem,
)


def test_what_was_there_stays_if_the_disk_fails(tmp_path, monkeypatch):
    file, aside, folder = tmp_path / "a.bin", tmp_path / ".new", tmp_path / "checkpoint"
    write_bytes(file, b"old")
    for place, text in ((folder, "old"), (aside, "new")):
        place.mkdir()
        (place / text).write_text(text)

    def fails(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        write_bytes(file, b"new")
    with pytest.raises(OSError, match="no space left"):
        replace_folder(aside, folder)
    assert file.read_bytes() == b"old"
    assert [each.name for each in folder.iterdir()] == ["old"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file"
    with replacing(path) as aside:
        aside.write_text("old")
    with suppress(ZeroDivisionError), replacing(path) as aside:
        aside.write_text("new")
        1 / 0  # noqa: B018 -- something goes wrong before the end
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_folder_takes_the_place_of_one_with_its_name(tmp_path):
    aside, folder = tmp_path / ".new", tmp_path / "checkpoint"
    for place, text in ((folder, "old"), (aside, "new")):
        place.mkdir()
        (place / text).write_text(text)
    replace_folder(aside, folder)
    assert [file.name for file in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_is_yet_to_be_made_is_looked_at_where_it_will_lie(tmp_path):
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert write_problem(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "b"
    assert write_problem(below) == f"{below} cannot be created: a part of its path is a file; choose another path"
    assert (
        write_problem(Path("/proc/b")) == "/proc/b cannot be written (No such file or directory); choose another folder"
    )


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/../../x", "/x", "//x", "C:x", "C:\\x", "..\\x", "\\\\host\\x", "a\0b", "link/x", "file"],
)
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "file").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GensweepError, match=r"^s3://b names a file .* outside ") as refused:
        path_within(folder, name, "s3://b")
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("name", ["x", "a/b.png", "a..b/..c", "linked/x", "new/folder/x"])
def test_a_name_below_its_folder_is_that_path(tmp_path, name):
    (tmp_path / "a").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    assert path_within(tmp_path, name, "s3://b") == tmp_path / name
