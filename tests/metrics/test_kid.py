"""The kernel distance against its formula, written out; unbiased; its standard error as repeated draws spread."""

import numpy as np
import pytest
import torch
from real_features import MadeUp, features
from scipy.stats import energy_distance

from gensweep.metrics import collected
from gensweep.metrics.collected import EnergyDistance, KernelDistance


def brute_force(x: torch.Tensor, y: torch.Tensor) -> float:
    """Bińkowski et al. 2018, eq. 4, pair by pair."""
    x, y = x.double().numpy(), y.double().numpy()
    n, m, d = len(x), len(y), x.shape[1]

    def k(a, b):
        return (np.dot(a, b) / d + 1) ** 3

    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(k(a, b) for a in x for b in y) / (n * m)
    return within_x + within_y - 2 * across


def distance(real: torch.Tensor, generated: torch.Tensor) -> tuple[float, float]:
    metric = KernelDistance(MadeUp(real))
    metric.update(generated)
    return metric.compute(), metric.details["standard_error"]


@pytest.mark.parametrize(("n", "m"), [(2, 2), (40, 40), (25, 60)])
def test_equals_the_formula_in_any_blocks(n: int, m: int, monkeypatch: pytest.MonkeyPatch):
    generated, real = features(n, 8, 2), features(m, 8, 1)
    expected = brute_force(generated, real)
    for block in (7, 2048):
        monkeypatch.setattr(collected, "BLOCK_ROWS", block)
        assert distance(real, generated)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.trains
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_is_unbiased_and_its_standard_error_is_the_spread(shift: float):
    generator = torch.Generator().manual_seed(0)
    draws = [
        distance(torch.randn(150, 6, generator=generator), torch.randn(100, 6, generator=generator) + shift)
        for _ in range(200)
    ]
    values, errors = (torch.tensor(column) for column in zip(*draws, strict=True))
    # E k for x, y ~ N(a, I), N(b, I) is a polynomial in a.b: here from a large draw
    big = distance(torch.randn(8000, 6, generator=generator), torch.randn(8000, 6, generator=generator) + shift)
    assert abs(values.mean() - big[0]) < 3 * (values.std() / 200**0.5 + big[1])
    ratio = float(errors.mean() / values.std())
    # for equal distributions the first-order term is all noise, and an upper bound
    assert 0.9 < ratio < 1.1 if shift else 1 < ratio < 2.5


def test_the_energy_distance_equals_scipys_without_its_bias():
    x, y = features(40, 1, 2), features(60, 1, 1)
    metric = EnergyDistance(MadeUp(y))
    metric.update(x)
    # scipy counts each image as its own neighbour, and takes the square root.
    within = [float(torch.cdist(each, each).sum() / (n * n * (n - 1))) for each, n in ((x, 40), (y, 60))]
    expected = energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2 - sum(within)
    assert metric.compute() == pytest.approx(expected, rel=1e-4)


def test_the_energy_distance_sees_what_has_the_same_moments():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(500, 2, generator=generator)
    signs = torch.randint(0, 2, (500, 2), generator=generator) * 2.0 - 1
    metric = EnergyDistance(MadeUp(normal))
    metric.update(signs)
    assert metric.compute() > 4 * metric.details["standard_error"]
    metric.reset()
    metric.update(torch.randn(500, 2, generator=generator))
    assert abs(metric.compute()) < 4 * metric.details["standard_error"]
