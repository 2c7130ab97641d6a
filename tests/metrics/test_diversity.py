"""Diversity against closed forms: Gaussians of known covariance, and a few points."""

import pytest
import torch

from gensweep.metrics.moments import Moments, diversity, variation

D = 24


def gaussian(n, deviations, seed):
    return torch.randn(n, len(deviations), generator=torch.Generator().manual_seed(seed)) * deviations + 3


def of(features):
    return variation(Moments.of(features))


REAL = of(gaussian(20_000, torch.ones(D), 0))


def test_the_variance_is_half_the_mean_squared_distance_of_two_images():
    x = gaussian(50, torch.linspace(0, 2, D), 2).double()
    distances = torch.cdist(x, x).square().sum() / (50 * 49)
    assert of(x).variance == pytest.approx(float(distances) / 2)


def test_few_images_do_not_bias_it():
    """Plainly computed, Tr S^2 of 40 images in 24 dimensions would be 1.6 times too large."""
    found = [of(gaussian(40, torch.ones(D), seed)) for seed in range(200)]
    assert sum(each.variance for each in found) / 200 == pytest.approx(D, rel=0.02)
    assert sum(each.concentration for each in found) / 200 == pytest.approx(1 / D, rel=0.05)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_real_images_are_as_diverse_as_real_images(n):
    assert 0.9 < diversity(of(gaussian(n, torch.ones(D), 5)), REAL) <= 1


@pytest.mark.parametrize("n", [2, 3, 500])
def test_one_image_again_and_again_has_none(n):
    assert diversity(of(gaussian(1, torch.ones(D), 3).expand(n, D)), REAL) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("deviations", "expected"),
    [
        (torch.full((D,), 0.3), 0.09),  # the square of the deviation
        (torch.full((D,), 3.0), 1),  # no more than real images
        (2.0 * (torch.arange(D) < 6), 6 / D),  # the variance of real images in a quarter of the directions
    ],
    ids=["narrower", "wider", "fewer directions"],
)
def test_diversity_of_gaussians_has_its_closed_form(deviations, expected):
    assert diversity(of(gaussian(5000, deviations, 4)), REAL) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("modes", [2, 4])
def test_few_distinct_images_are_as_diverse_as_their_number(modes):
    """The corners of a regular simplex span one direction less than their number, evenly."""
    corners = torch.eye(D)[:modes] * D
    assert diversity(of(corners.repeat(500, 1)), REAL) == pytest.approx((modes - 1) / D, rel=0.05)
