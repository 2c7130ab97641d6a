"""The corrected distance and its interval, against brute force, closed forms and simulations with a known answer."""

import math

import pytest
import torch
from classical_bias import first_order_bias

from gensweep.errors import GensweepError
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.uncertainty import Target, estimate_distance

pytestmark = pytest.mark.trains


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def distance(x: torch.Tensor, target: Target) -> float:
    return frechet_distance(x.mean(0), torch.cov(x.T), target.mean, target.covariance)


def a_target(d: int, seed: int = 1) -> Target:
    mixing = normal(d, d, seed=seed) / math.sqrt(d)
    return Target(normal(d, seed=seed + 1), mixing @ mixing.T + 0.1 * torch.eye(d, dtype=torch.float64))


def diagonal(variances: torch.Tensor, shift: float = 0.0) -> Target:
    return Target(torch.full_like(variances, shift / math.sqrt(len(variances))), variances.diag())


@pytest.mark.parametrize(
    ("n", "d", "real", "kind"),
    [
        (60, 10, 40, "normal"),
        (60, 10, 40, "mostly zero"),
        (60, 10, 40, "own scales"),
        (80, 30, 120, "own scales"),
        (200, 20, 80, "mostly zero"),
        (60, 30, 4, "normal"),
        (60, 30, 4, "own scales"),
    ],
)
def test_influences_are_those_of_leaving_each_image_out(n, d, real, kind, monkeypatch):
    uncertainty = "gensweep.metrics.uncertainty"
    monkeypatch.setattr(f"{uncertainty}.MAX_JACKKNIFE_IMAGES", 0)  # what leaving out parts does would hide it
    monkeypatch.setattr(f"{uncertainty}.SAMPLED_PAIRS", 8)  # pairs scale all influences alike, and change no distance
    x = independent(kind, n, d, 1) @ normal(d, d, seed=3) / math.sqrt(d)
    target = Target(torch.zeros(d, dtype=torch.float64), torch.cov(normal(real, d, seed=4).T))
    without = [estimate_distance(torch.cat([x[:i], x[i + 1 :]]), target).corrected for i in range(n)]
    brute = -torch.tensor(without, dtype=torch.float64)
    found = estimate_distance(x, target).influences
    assert float(torch.corrcoef(torch.stack([found, brute]))[0, 1]) > 0.97
    assert float(found.mean()) == pytest.approx(estimate_distance(x, target).corrected)


def test_many_images_are_corrected_by_the_first_order_bias():
    d, n = 60, 3000
    mixing = normal(d, d, seed=5) / 7
    target, covariance = a_target(d), mixing @ mixing.T
    taken = []
    for seed in range(10):
        x = normal(n, d, seed=100 + seed) @ mixing.T
        taken.append(distance(x, target) - estimate_distance(x, target).corrected)
    assert sum(taken) / 10 == pytest.approx(first_order_bias(covariance, target, n), rel=0.05)


# Each case: the spectrum, whether the images have scales of their own, how far the reference is, and n.
HARD = {
    "equal, half as many features as images": (torch.ones(100), False, 1.0, 0.0, 200),
    "decaying, half as many features": (4 / torch.arange(1.0, 101.0), False, 1.5, 0.5, 200),
    "decaying, scales of their own": (4 / torch.arange(1.0, 101.0), True, 1.5, 0.5, 200),
    "equal, scales of their own": (torch.ones(100), True, 1.0, 0.0, 200),
    "equal, fewer images than features": (torch.ones(100), False, 1.0, 0.0, 60),
    "decaying, fewer images than features": (4 / torch.arange(1.0, 101.0), True, 1.5, 0.5, 60),
}


@pytest.mark.parametrize("name", HARD)
def test_takes_away_the_bias_where_the_first_order_is_not_enough(name: str):
    spectrum, scaled, ratio, shift, n = HARD[name]
    spectrum = spectrum.double()
    target = diagonal(spectrum * ratio, shift)
    truth = frechet_distance(torch.zeros_like(spectrum), spectrum.diag(), target.mean, target.covariance)
    plain, corrected, errors = [], [], []
    for seed in range(20):
        x = normal(n, 100, seed=seed) * spectrum.sqrt()
        if scaled:
            x = x * normal(n, 8, seed=seed + 50).square().mean(1, keepdim=True).sqrt()
        estimate = estimate_distance(x, target)
        plain.append(distance(x, target))
        corrected.append(estimate.corrected)
        errors.append(estimate.error)
    excess, rest = sum(plain) / 20 - truth, sum(corrected) / 20 - truth
    assert excess > 3 * sum(errors) / 20
    assert abs(rest) < 0.06 * excess


def test_rotated_and_rescaled_features_give_the_same_estimate():
    x, target = normal(90, 30), a_target(30)
    turn = torch.linalg.qr(normal(30, 30, seed=9))[0]
    turned = Target(1000 * turn.T @ target.mean, 1e6 * turn.T @ target.covariance @ turn)
    a, b = estimate_distance(x, target), estimate_distance(1000 * x @ turn, turned)
    assert (b.corrected, b.error) == pytest.approx((1e6 * a.corrected, 1e6 * a.error), rel=1e-6)
    with pytest.raises(GensweepError, match="at least 20 images, but got 19"):
        estimate_distance(x[:19], target)


def test_a_collapsed_generator_has_no_bias():
    target = a_target(20)
    point = torch.ones(40, 20, dtype=torch.float64)
    estimate = estimate_distance(point, target)
    assert estimate.corrected == pytest.approx(distance(point, target), rel=1e-9)
    assert estimate.error == pytest.approx(0, abs=1e-9)
    few = normal(4, 20)[torch.arange(400) % 4]
    near = estimate_distance(few, target)
    assert near.corrected == pytest.approx(distance(few, target), rel=0.02)


def test_the_interval_of_clusters_misses_evenly():
    n, d, clusters, repeats = 200, 16, 10, 300
    centres = 3 * normal(clusters + 1, d, seed=1)
    own, target = around(centres[:clusters]), around(centres)
    truth = frechet_distance(own.mean, own.covariance, target.mean, target.covariance)
    above = below = 0
    for seed in range(repeats):
        cluster = torch.randint(clusters, (n,), generator=torch.Generator().manual_seed(seed))
        estimate = estimate_distance(centres[cluster] + normal(n, d, seed=seed), target)
        above, below = above + (estimate.low > truth), below + (estimate.high < truth)
    assert 0.93 * repeats <= repeats - above - below <= 0.97 * repeats
    # 1.96 standard errors on either side would lie below the truth in 0.07, and above it in 0.003.
    assert max(above, below) <= 0.05 * repeats


def test_the_interval_holds_a_distance_of_0_that_few_directions_make():
    n, d, repeats = 500, 16, 200
    generator = torch.Generator().manual_seed(1)
    centres, mapping = torch.randn(26, d, dtype=torch.float64, generator=generator).split([10, d])

    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        cluster = torch.randint(10, (count,), generator=generator)
        noise = torch.randn(count, d, dtype=torch.float64, generator=generator)
        return ((3 * centres[cluster] + noise) @ mapping / math.sqrt(d)).clamp(min=0)

    reference = draw(400_000, generator)
    target = Target(reference.mean(0), torch.cov(reference.T))
    found = [estimate_distance(draw(n, generator), target) for _ in range(repeats)]
    # Where the variance at 0 came from a line through that at the estimate, 0.13 were above 0.
    assert sum(each.low > 0 for each in found) <= 0.05 * repeats
    assert sum(each.high < 0 for each in found) <= 0.05 * repeats
    assert 0.92 * repeats <= sum(each.low <= 0 <= each.high for each in found) <= 0.98 * repeats


def around(centres: torch.Tensor) -> Target:
    """Features with a standard deviation of 1 around each of the centres."""
    return Target(centres.mean(0), torch.cov(centres.T, correction=0) + torch.eye(centres.shape[1]).double())


def independent(kind: str, n: int, d: int, seed: int) -> torch.Tensor:
    """Numbers with mean 0 and variance 1: normal, mostly 0 as after a ReLU, or normal with a scale for each image."""
    z = normal(n, d, seed=seed)
    if kind == "mostly zero":
        return (z.clamp(min=0) - 1 / math.sqrt(2 * math.pi)) / math.sqrt(0.5 - 0.5 / math.pi)
    return z * normal(n, 8, seed=seed + 10_000).square().mean(1, keepdim=True).sqrt() if kind == "own scales" else z


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "mostly zero", "own scales"])
@pytest.mark.parametrize("case", ["alike", "narrower", "turned"])
def test_the_interval_covers_the_truth_in_92_to_98_percent(case: str, kind: str):
    d = 64
    spectrum = 10 / torch.arange(1, d + 1, dtype=torch.float64)
    turn = torch.linalg.qr(normal(d, d, seed=3))[0]
    if case == "alike":
        spectrum = torch.ones(d, dtype=torch.float64)
        target = diagonal(spectrum)
    elif case == "narrower":
        target = diagonal(1.5 * spectrum, 0.5)
    else:
        target = Target(torch.full_like(spectrum, 0.5 / math.sqrt(d)), (turn * spectrum) @ turn.T)
    truth = frechet_distance(torch.zeros_like(spectrum), spectrum.diag(), target.mean, target.covariance)
    covered = 0
    for seed in range(500):
        estimate = estimate_distance(independent(kind, 500, d, seed) * spectrum.sqrt(), target)
        covered += estimate.low <= truth <= estimate.high
    assert 460 <= covered <= 490
