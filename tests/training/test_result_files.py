"""Pictures show every image in its place, and what the network has learnt of a schedule."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gensweep.training.result_files import MIN_TILE_PIXELS, write_grid


@pytest.mark.parametrize(("channels", "size", "count"), [(1, 8, 64), (3, 32, 5), (3, 40, 1)])
def test_a_grid_shows_every_image_in_its_place(tmp_path, channels, size, count):
    images = torch.randint(256, (count, channels, size, size), dtype=torch.uint8)
    write_grid(images, tmp_path / "grid.png")
    file = Image.open(tmp_path / "grid.png")
    grid, (side, corners) = np.asarray(file), json.loads(file.info["layout"])
    scale = max(1, MIN_TILE_PIXELS // size)
    tile, columns = size * scale + 4, {64: 8, 5: 3, 1: 1}[count]
    assert grid.shape == (-(-count // columns) * tile, columns * tile, 3)
    assert side == tile
    assert corners == [[index % columns * tile, index // columns * tile] for index in range(count)]
    for index in range(count):
        top, left = (index // columns) * tile + 2, (index % columns) * tile + 2
        shown = grid[top : top + size * scale : scale, left : left + size * scale : scale]
        assert np.array_equal(shown, images[index].permute(1, 2, 0).expand(-1, -1, 3).numpy())
