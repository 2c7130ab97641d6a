"""Data sets that torchvision reads: of those with checksums, tiny ones to whose checksums it is told to agree."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from gensweep.data.images import FETCHERS
from gensweep.data.torchvision_sets import torchvision_images
from gensweep.errors import ConfigError, GensweepError

RANDOM = np.random.default_rng(0)


def md5(file):
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    folder = tmp_path / "torchvision"
    folder.mkdir()
    files = {}
    for split, n in (("train", 12), ("test", 6)):
        file = folder / f"{split}_32x32.mat"
        pixels = RANDOM.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        savemat(file, {"X": pixels, "y": np.arange(1, n + 1)[:, None] % 11})
        files[split] = ["", file.name, md5(file)]
    monkeypatch.setattr(datasets.SVHN, "split_list", files)
    return folder


def test_svhn(svhn):
    images = torchvision_images("train", svhn.parent, dataset="SVHN")
    assert images.shape == (3, 32, 32)
    assert not images.flip
    # The source writes 10 for a nought.
    assert images.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 1]


@pytest.fixture
def celeba(tmp_path, monkeypatch):
    folder = tmp_path / "torchvision" / "celeba"
    pictures = folder / "img_align_celeba"
    pictures.mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in range(6)]
    for index, name in enumerate(names):
        Image.new("RGB", (178, 218), (40 * index, 0, 0)).save(pictures / name, quality=100)
    numbers = "\n".join(f"{name} {split}" for name, split in zip(names, (0, 0, 0, 1, 2, 2), strict=True))
    (folder / "list_eval_partition.txt").write_text(numbers + "\n")
    for file, head in (("identity_CelebA", ""), ("list_bbox_celeba", "6\nx\n"), ("list_attr_celeba", "6\nx\n")):
        (folder / f"{file}.txt").write_text(head + "\n".join(f"{name} 1" for name in names) + "\n")
    (folder / "list_landmarks_align_celeba.txt").write_text("6\nx\n" + "\n".join(f"{name} 1" for name in names) + "\n")
    monkeypatch.setattr(datasets.CelebA, "_check_integrity", lambda self: True)
    return folder


def test_faces_of_celeba_are_one_class_cropped_in_the_middle(celeba):
    images = torchvision_images("test", celeba.parents[1], dataset="CelebA", size=64)
    assert images.shape == (3, 64, 64)
    assert images.class_names == ("face",)
    assert [int(pixels[0].float().mean().round()) for pixels in images.pixels] == pytest.approx([160, 200], abs=2)


@pytest.mark.parametrize("dataset", ["MNIST", "SVHN", "STL10", "CelebA"])
def test_what_was_not_fetched_says_how(tmp_path, dataset):
    with pytest.raises(ConfigError, match=f"{dataset} is not in .*; run: gensweep data fetch {dataset}"):
        torchvision_images("train", tmp_path, dataset=dataset)


def test_a_damaged_file_is_told(svhn):
    (svhn / "train_32x32.mat").write_bytes(b"torn")
    with pytest.raises(ConfigError, match="run: gensweep data fetch SVHN"):
        torchvision_images("train", svhn.parent, dataset="SVHN")


def test_files_from_elsewhere_are_copied_by_hand(tmp_path):
    with pytest.raises(ConfigError, match=f"copy the files of SVHN that torchvision has into {tmp_path}/torchvision"):
        FETCHERS["SVHN"](tmp_path, source=tmp_path)


def test_a_host_that_does_not_answer_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(GensweepError, match=r"could not be fetched .*; copy the files that torchvision has elsewhere"):
        FETCHERS["MNIST"](tmp_path)
