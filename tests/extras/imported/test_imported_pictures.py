"""Folders as they are in the world: every sort of file is read or counted, and none is waited for."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensweep.errors import ConfigError
from gensweep.extras.imported.imported_pictures import read_folder

GOOD, BAD = 10, 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "plain.png")
    Image.fromarray(rgb[:10]).save(tmp_path / "wide.jpg")
    Image.fromarray(rgb[:, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    Image.fromarray(random.integers(0, 256, (16, 16, 4), dtype=np.uint8)).save(tmp_path / "clear.png")
    Image.new("1", (16, 16)).save(tmp_path / "bit.png")
    Image.new("P", (16, 16)).save(tmp_path / "palette.gif")
    Image.new("CMYK", (16, 16)).save(tmp_path / "printed.jpg")
    Image.new("RGB", (1, 300)).save(tmp_path / "thin.png")
    values = random.random((16, 16)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "float.tiff")
    for name, odd in (("nan", np.nan), ("infinite", np.inf)):
        values[3, 3] = odd
        Image.fromarray(values).save(tmp_path / f"{name}.tiff")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "plain.png").read_bytes()[:100])
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "wide.jpg").read_bytes()[:200])
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture, by its name")
    return tmp_path


def test_every_sort_of_file_is_read_or_counted(folder: Path):
    found = read_folder(folder, GOOD, size=8, channels=3)
    assert found.pixels.shape == (GOOD, 3, 8, 8)
    assert len(found.files) == GOOD
    notes = "\n".join(found.notes)
    assert f"{GOOD} of {GOOD} pictures are of another size" in notes
    assert "4 of 10 pictures are grey: converted to RGB" in notes
    assert "2 of 10 pictures are of more than 8 bits per value: scaled to 8" in notes
    assert "1 of 10 pictures are transparent: put on white" in notes


def test_what_cannot_be_read_is_named_with_a_reason_in_one_line(folder: Path):
    with pytest.raises(ConfigError, match=rf"has {GOOD} pictures, but 99 are needed \({BAD} files cannot be read"):
        read_folder(folder, 99, size=8, channels=3)
    for file in folder.iterdir():
        if file.suffix in (".png", ".jpg", ".gif", ".tiff") and file.stem not in ("nan", "pipe"):
            file.rmdir() if file.is_dir() else file.unlink()
    with pytest.raises(ConfigError, match="has nothing to score: 2 files cannot be read") as caught:
        read_folder(folder, 1, size=8, channels=3)
    assert "nan.tiff (ValueError: some pixels are not finite)" in str(caught.value)
    assert "pipe.png (not a regular file)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_pictures_beside_links_are_one_error(tmp_path: Path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "torn.png").touch()
    (tmp_path / "drawn" / "away.png").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match=r"torn\.png.*; 1 link is not followed: away\.png"):
        read_folder(tmp_path / "drawn", 1, size=8, channels=3)
