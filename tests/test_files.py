"""Files and folders that are replaced as a whole, whatever goes wrong."""

import os
from contextlib import suppress

import pytest

from gensweep.files import replace_folder, replacing, write_bytes, write_text


def test_a_file_has_its_new_content_and_nothing_lies_beside_it(tmp_path):
    file = tmp_path / "made" / "a.json"
    write_text(file, "old")
    write_text(file, "né")
    assert file.read_text(encoding="utf-8") == "né"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_keeps_its_content_if_the_disk_fails(tmp_path, monkeypatch):
    file = tmp_path / "a.bin"
    write_bytes(file, b"old")

    def fails(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


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


def test_a_folder_keeps_its_content_if_the_disk_fails(tmp_path, monkeypatch):
    aside, folder = tmp_path / ".new", tmp_path / "checkpoint"
    for place, text in ((folder, "old"), (aside, "new")):
        place.mkdir()
        (place / text).write_text(text)

    def fails(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        replace_folder(aside, folder)
    assert [file.name for file in folder.iterdir()] == ["old"]
