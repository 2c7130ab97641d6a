"""Images by class: each class in a row of its own, under its name, and real ones laid out alike."""

import json

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


@pytest.mark.parametrize("classes", [10, 16, 40])
def test_columns_of_classes_are_about_equally_high(tmp_path, classes):
    labels, file = torch.arange(classes).repeat_interleave(6), tmp_path / "grid.png"
    drawn(labels, [f"c{number}" for number in range(classes)], file)
    with Image.open(file) as picture:
        _, corners = json.loads(picture.info["layout"])
    firsts = [left for left, _ in corners[::6]]
    heights = [firsts.count(left) for left in sorted(set(firsts))]
    assert max(heights) - min(heights) <= len(heights)


def test_real_images_are_of_the_drawn_classes():
    images = tiny.images(12)
    labels = torch.tensor([2, 0, 2, 2, 1, 2, 2])
    real = real_images(images, labels)
    of_class = [images.pixels[images.labels == label] for label in range(3)]
    expected = [of_class[2][0], of_class[0][0], of_class[2][1], of_class[2][2], of_class[1][0], of_class[2][3]]
    assert torch.equal(real, torch.stack([*expected, of_class[2][0]]))


def test_the_file_says_where_each_image_is(tmp_path):
    labels, file = torch.tensor([2, 0, 1, 0, 2, 0]), tmp_path / "grid.png"
    grid = drawn(labels, ["ant", "bee", "cat"], file)
    with Image.open(file) as picture:
        side, corners = json.loads(picture.info["layout"])
    assert side == SIDE + 2 * TILE_MARGIN_PIXELS
    assert [grid[top + side // 2, left + side // 2, 0] for left, top in corners] == (labels + 1).tolist()
