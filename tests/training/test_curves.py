"""The picture of a schedule shows what the network has learnt."""

import pytest
import tiny
import torch
from matplotlib.figure import Figure
from PIL import Image

from gensweep.families.family import FAMILIES, Scheduled
from gensweep.training.curves import write_schedule

SCHEDULED = [kind for kind in FAMILIES if isinstance(tiny.build(kind), Scheduled)]


@pytest.mark.parametrize("kind", SCHEDULED)
def test_the_curves_are_those_of_the_network(kind, tmp_path, monkeypatch):
    figures, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: figures.append(self) or savefig(self, *a, **k))
    family = tiny.build(kind)
    network = family.networks[family.sampled]
    write_schedule(family, network, tmp_path / "schedule.png")
    left, right = figures[0].axes
    curves = {line.get_label(): line for axes in (left, right) for line in axes.get_lines()}
    t = torch.as_tensor(curves["the schedule"].get_xdata())
    torch.testing.assert_close(torch.as_tensor(curves["the schedule"].get_ydata()), family.log_snr(network, t))
    total = torch.as_tensor(curves["signal"].get_ydata()) + torch.as_tensor(curves["noise"].get_ydata())
    torch.testing.assert_close(total, torch.ones_like(total))
    with Image.open(tmp_path / "schedule.png") as picture:
        assert picture.size == (960, 384)


def test_families_that_learn_a_schedule_are_among_them():
    assert "vdm" in SCHEDULED
    assert "gan" not in SCHEDULED
