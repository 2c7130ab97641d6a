"""Pictures show every image in its place, and what the network has learnt of a schedule."""

import numpy as np
import pytest
import tiny
import torch
from matplotlib.figure import Figure
from PIL import Image

from gensweep.families.family import FAMILIES, Scheduled
from gensweep.training.result_files import MIN_TILE_PIXELS, write_grid, write_schedule

SCHEDULED = [kind for kind in FAMILIES if isinstance(tiny.build(kind), Scheduled)]


@pytest.mark.parametrize("kind", SCHEDULED)
def test_the_curves_are_those_of_the_network(kind, tmp_path, monkeypatch):
    figures, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: figures.append(self) or savefig(self, *a, **k))
    family = tiny.build(kind)
    network = family.networks[family.sampled]
    write_schedule(family, network, tmp_path)
    left, right = figures[0].axes
    curves = {line.get_label(): line for axes in (left, right) for line in axes.get_lines()}
    t = torch.as_tensor(curves["the schedule"].get_xdata())
    torch.testing.assert_close(torch.as_tensor(curves["the schedule"].get_ydata()), family.log_snr(network, t))
    total = torch.as_tensor(curves["signal"].get_ydata()) + torch.as_tensor(curves["noise"].get_ydata())
    torch.testing.assert_close(total, torch.ones_like(total))
    with Image.open(tmp_path / "schedule.png") as picture:
        assert picture.size == (960, 384)


@pytest.mark.parametrize(("channels", "size", "count"), [(1, 8, 64), (3, 32, 5), (3, 40, 1)])
def test_a_grid_shows_every_image_in_its_place(tmp_path, channels, size, count):
    images = torch.randint(256, (count, channels, size, size), dtype=torch.uint8)
    write_grid(images, tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    scale = max(1, MIN_TILE_PIXELS // size)
    tile, columns = size * scale + 4, {64: 8, 5: 3, 1: 1}[count]
    assert grid.shape == (-(-count // columns) * tile, columns * tile, 3)
    for index in range(count):
        top, left = (index // columns) * tile + 2, (index % columns) * tile + 2
        shown = grid[top : top + size * scale : scale, left : left + size * scale : scale]
        assert np.array_equal(shown, images[index].permute(1, 2, 0).expand(-1, -1, 3).numpy())
