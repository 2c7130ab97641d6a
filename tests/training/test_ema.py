"""The average of weights against its definition."""

import pytest
import tiny
import torch

from gensweep.training.ema import Ema, averages


@pytest.mark.parametrize("factor", [1.0, 0.25, 4.0])
def test_the_average_equals_a_sum_written_out(factor):
    network = torch.nn.Linear(2, 1)
    ema, expected = Ema(network, 40, factor), network.weight.detach().double().clone()
    for images in range(8, 1200, 8):
        with torch.no_grad():
            network.weight.normal_()
        left = 0.5 ** (8 / (factor * min(40, 0.05 * images)))
        expected = left * expected + (1 - left) * network.weight.detach().double()
        ema.update(network, images, 8)
    torch.testing.assert_close(ema.network.weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_averages_are_named_by_their_factors():
    network = torch.nn.Linear(1, 1)
    assert averages(network, 0, (0.25, 4.0)) == {}
    assert list(averages(network, 10, ())) == ["ema"]
    assert list(averages(network, 10, (1.0, 4.0, 0.25))) == ["ema", "ema@4", "ema@0.25"]


def test_running_statistics_are_averaged_and_counters_taken_over():
    network = tiny.build("gan").networks["generator"]
    ema = Ema(network, 1000)
    norm = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    average = next(m for m in ema.network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.running_mean.fill_(1.0)
    norm.num_batches_tracked.fill_(9)
    ema.update(network, 10**6, 1000)
    assert average.running_mean.tolist() == pytest.approx([0.5] * len(average.running_mean))
    assert int(average.num_batches_tracked) == 9
