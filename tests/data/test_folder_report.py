"""Facts on a folder of pictures before training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensweep.data.folder_report import inspect_folder

SETTINGS = {
    "classes": None,
    "limit": None,
    "size": 8,
    "channels": 3,
    "test_fraction": 0.1,
    "flip": True,
    "allow_skipped": False,
}


def noise(seed: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Twelve different pictures in train/cat, three in test/cat."""
    for split, first, last in (("train", 0, 12), ("test", 20, 23)):
        folder = tmp_path / "photos" / split / "cat"
        folder.mkdir(parents=True)
        for seed in range(first, last):
            noise(seed).save(folder / f"{seed}.png")
    return tmp_path / "photos"


def inspected(photos: Path, split: str = "train", **changed):
    return inspect_folder(split, photos.parent / "cache", path=str(photos), **{**SETTINGS, **changed})


def test_sizes_enlargements_and_crops_are_those_of_the_files(photos):
    noise(30, (2, 2)).save(photos / "train" / "cat" / "tiny.png")
    noise(31, (1, 1000)).save(photos / "test" / "cat" / "thin.png")
    noise(32, (60, 40)).save(photos / "train" / "cat" / "wide.jpg")
    report = inspected(photos)[1]
    assert (report.smallest, report.median, report.largest) == ((2, 2), (16, 16), (60, 40))
    assert (report.enlarged, report.cropped) == (2, 2)
    assert report.pictures == {"train": 14, "test": 4}


def test_duplicates_are_told_within_and_across_splits(photos):
    train, test = photos / "train" / "cat", photos / "test" / "cat"
    shutil.copy(train / "3.png", train / "copy.png")
    noise(5).save(test / "other format.bmp")
    report = inspected(photos)[1]
    ((first, second),) = report.repeated["train"]
    assert {first, second} == {"train/cat/3.png", "train/cat/copy.png"}
    assert report.repeated["test"] == ()
    assert report.leaked == (("test/cat/other format.bmp", "train/cat/5.png"),)
    (warning,) = report.warnings
    assert warning.startswith("1 test picture is also in the training split, of 4 (test/cat/other format.bmp = train/")


@pytest.mark.parametrize("split", ["train", "test"])
def test_unreadable_files_of_both_splits_are_reported(photos, split):
    (photos / "train" / "cat" / "torn.png").touch()
    (photos / "test" / "cat" / "bad.png").touch()
    images, report = inspected(photos, split)
    assert {each: list(files) for each, files in report.unreadable.items()} == {
        "train": ["cat/torn.png"],
        "test": ["cat/bad.png"],
    }
    assert report.refused
    assert any("torn.png" in note for note in images.notes)
    assert any("bad.png" in note for note in images.notes)
