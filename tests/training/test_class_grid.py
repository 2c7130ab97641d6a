"""Images by class: each class in a row of its own, under its name, and real ones laid out alike."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from gensweep.training.result_files import MIN_TILE_PIXELS, TILE_MARGIN_PIXELS, real_images, write_class_grid

#: Images that are not enlarged.
SIDE = MIN_TILE_PIXELS


def plain(labels):
    """Images of which every pixel says the class, from 1 on."""
    return (labels + 1).to(torch.uint8)[:, None, None, None].expand(-1, 1, SIDE, SIDE).contiguous()


def drawn(labels, names, file):
    write_class_grid(plain(labels), labels, names, file)
    return np.asarray(Image.open(file))


def test_a_row_holds_the_images_of_one_class_in_the_order_of_the_classes(tmp_path):
    labels = torch.tensor([2, 0, 1, 0, 2, 0])
    grid = drawn(labels, ["ant", "bee", "cat"], tmp_path / "grid.png")
    tile = SIDE + 2 * TILE_MARGIN_PIXELS
    assert grid.shape[0] == 3 * tile
    left = grid.shape[1] - 3 * tile
    for row, count in enumerate([3, 1, 2]):
        for column in range(3):
            middle = grid[row * tile + tile // 2, left + column * tile + tile // 2]
            assert middle.tolist() == [row + 1 if column < count else 255] * 3


@pytest.mark.parametrize("classes", [1, 2, 10, 33, 64])
def test_many_classes_make_no_tower(tmp_path, classes):
    names = [f"a class with a long name, number {number}" for number in range(classes)]
    height, width, _ = drawn(torch.arange(64) % classes, names, tmp_path / "grid.png").shape
    if classes > 1:
        assert 0.4 < width / height < 2.6
    assert max(width, height) < 2500


@pytest.mark.parametrize("names", ["ант бык", "Ελα Ελβ", "☃ ☂", "猫 犬", "🐱 🐶"])
def test_names_in_any_script_are_told_apart(names, tmp_path):
    grid = drawn(torch.tensor([0, 1]), names.split(), tmp_path / "grid.png")
    tile = SIDE + 2 * TILE_MARGIN_PIXELS
    beside = grid.shape[1] - tile
    assert not np.array_equal(grid[:tile, :beside], grid[tile:, :beside])


def test_names_with_unknown_letters_are_numbers(tmp_path):
    shown = drawn(torch.tensor([0, 1, 2]), ["ant", "猫", "two\nlines"], tmp_path / "grid.png")
    assert np.array_equal(shown, drawn(torch.tensor([0, 1, 2]), ["ant", "class 1", "class 2"], tmp_path / "grid.png"))


def test_real_images_are_of_the_classes_that_were_drawn_and_differ_while_there_are_enough():
    images = tiny.images(12)
    labels = torch.tensor([2, 0, 2, 2, 1, 2, 2])
    real = real_images(images, labels)
    of_class = [images.pixels[images.labels == label] for label in range(3)]
    expected = [of_class[2][0], of_class[0][0], of_class[2][1], of_class[2][2], of_class[1][0], of_class[2][3]]
    assert torch.equal(real, torch.stack([*expected, of_class[2][0]]))
