import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.errors import GensweepError
from gensweep.metrics.frechet import frechet_distance


def draw(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, dtype=torch.float64, generator=generator)
    return torch.randn(n, d, dtype=torch.float64, generator=generator) @ mixing * scale + shift


def gaussian(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return features.mean(0), torch.cov(features.T)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(-10, 10)] * 2), min_size=1, max_size=12))
def test_diagonal_gaussians_have_the_closed_form(axes: list[tuple[float, float, float, float]]):
    v1, v2, m1, m2 = torch.tensor(axes, dtype=torch.float64).T
    expected = (m1 - m2).square().sum() + (v1.sqrt() - v2.sqrt()).square().sum()
    # the formula subtracts traces, so its rounding is relative to them
    bound = 1e-6 * float(1 + v1.sum() + v2.sum())
    assert frechet_distance(m1, v1.diag(), m2, v2.diag()) == pytest.approx(float(expected), abs=bound)


@pytest.mark.parametrize("d", [2, 33, 128])
def test_equals_the_formula_with_scipys_square_root(d: int):
    (m1, s1), (m2, s2) = gaussian(draw(4 * d, d, 0)), gaussian(draw(4 * d, d, 1, scale=1.7, shift=0.3))
    root = scipy.linalg.sqrtm((s1 @ s2).numpy()).real
    expected = float((m1 - m2).square().sum() + s1.trace() + s2.trace()) - 2 * float(np.trace(root))
    assert frechet_distance(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-8)


def test_is_symmetric_and_ignores_a_rotation_of_the_features():
    a, b = draw(500, 40, 0), draw(500, 40, 1, scale=2)
    turn = torch.linalg.qr(draw(40, 40, 2))[0]
    distance = frechet_distance(*gaussian(a), *gaussian(b))
    assert frechet_distance(*gaussian(b), *gaussian(a)) == pytest.approx(distance, rel=1e-10)
    assert frechet_distance(*gaussian(a @ turn), *gaussian(b @ turn)) == pytest.approx(distance, rel=1e-10)


@pytest.mark.parametrize("n", [2, 50, 250])
def test_fewer_images_than_features_lose_no_digits(n: int):
    d = 200
    a, b = draw(n, d, 0), draw(n + 10, d, 1)
    # the singular values of centred features give the trace of the root without any covariance
    x, y = (a - a.mean(0)) / (n - 1) ** 0.5, (b - b.mean(0)) / (n + 9) ** 0.5
    expected = (a.mean(0) - b.mean(0)).square().sum() + x.square().sum() + y.square().sum()
    expected = float(expected - 2 * torch.linalg.svdvals(x @ y.T).sum())
    assert frechet_distance(*gaussian(a), *gaussian(b)) == pytest.approx(expected, rel=1e-12)


def test_spectra_over_many_decades_stay_accurate():
    variances = torch.logspace(2, -12, 100, dtype=torch.float64)
    turn = torch.linalg.qr(draw(100, 100, 0))[0]
    zero, covariance = torch.zeros(100, dtype=torch.float64), turn @ variances.diag() @ turn.T
    assert frechet_distance(zero, covariance, zero, covariance) <= 1e-6
    assert frechet_distance(zero, covariance, zero, 4 * covariance) == pytest.approx(float(variances.sum()), rel=1e-7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_numbers_are_refused(bad: float):
    zero, unit = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    with pytest.raises(GensweepError, match="cov2"):
        frechet_distance(zero, unit, zero, unit * bad)


def test_most_features_may_be_constant():
    # 12 images, of which 71 of 1,280 features differ by a little: the solver does not converge on such a covariance.
    features = torch.zeros(12, 1280, dtype=torch.float64)
    features[:, 100:171] = draw(12, 71, 0) * torch.logspace(-9, 0, 71, dtype=torch.float64)
    mean, covariance = gaussian(features)
    zero, unit = torch.zeros_like(mean), torch.eye(1280, dtype=torch.float64)
    singular = torch.linalg.svdvals(features - mean) / 11**0.5
    expected = float(mean.square().sum() + covariance.trace() + 1280 - 2 * singular.sum())
    assert frechet_distance(mean, covariance, mean, covariance) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(mean, covariance, zero, unit) == pytest.approx(expected, rel=1e-9)
