"""The variational bound against closed forms, numerical integration and the data's entropy."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gensweep.diffusion.likelihood import bound, decoder_bits, prior_bits, step_bits
from gensweep.diffusion.process import GaussianDiffusion, posterior
from gensweep.diffusion.schedules import cosine, karras, linear
from gensweep.noise import Noise

#: Standard deviation of the Gaussian images; their levels are rounded to the 256 of a pixel.
S = 0.25


def gaussian_images(n, size=8):
    x = S * Noise(11, torch.arange(n)).normal(1, size, size, stream=0)
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def ideal(x, sigma):
    """The expected Gaussian image."""
    return S**2 / (S**2 + sigma.view(-1, 1, 1, 1) ** 2) * x


def ideal_of_levels(x, sigma):
    """The expected image where it is known that its values are those of 256 levels."""
    levels = torch.linspace(-1, 1, 256)
    distance = (x.unsqueeze(-1) - levels) / sigma.view(-1, 1, 1, 1, 1)
    weights = (-(distance.square() + (levels / S).square()) / 2).softmax(dim=-1)
    return weights @ levels


def entropy():
    """Bits per dimension of the rounded Gaussian, summed over its levels."""
    levels = np.linspace(-1, 1, 256)
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    p = np.diff(norm.cdf(edges / S))
    return float(-(p * np.log2(p)).sum())


def decoder_of_gaussians(process):
    """E[-log2 p(x_0 | x_1)] of the ideal model with variance beta, by integration over x_0 and the noise."""
    sigma, deviation = float(process.sigma[0]), float(1 - process.alpha_bar[0]) ** 0.5
    levels = np.linspace(-1, 1, 256)
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    p = np.diff(norm.cdf(edges / S))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    mean = S**2 / (S**2 + sigma**2) * (levels[:, None] + sigma * nodes)
    high, low = (edges[1:, None] - mean) / deviation, (edges[:-1, None] - mean) / deviation
    q = np.where(low > 0, norm.sf(low) - norm.sf(high), norm.cdf(high) - norm.cdf(low))
    return float(-(p[:, None] * weights / weights.sum() * np.log2(q)).sum())


def mean_and_error(values):
    return float(values.mean()), float(values.std()) / len(values) ** 0.5


@pytest.mark.parametrize(("schedule", "expected"), [(linear, 2.911e-5), (cosine, 1.752e-9)])
def test_the_prior_has_the_published_numbers(schedule, expected):
    ones = torch.ones(2, 3, 4, 4, dtype=torch.float64)
    assert prior_bits(GaussianDiffusion(schedule(1000)), ones).tolist() == pytest.approx([expected] * 2, rel=1e-3)


@pytest.mark.parametrize("timesteps", [8, 40, 200])
def test_the_bound_of_gaussian_images_has_its_closed_form(timesteps):
    """A step costs (SNR_{t-1} - SNR_t) E|x_0 - x_hat|^2 / 2.  Source: Kingma et al. 2021, eq. 13 and 14."""
    process = GaussianDiffusion(cosine(timesteps))
    n = 400 if timesteps < 100 else 60
    found = bound(process, ideal, gaussian_images(n), Noise(0, torch.arange(n)))
    snr = process.alpha_bar / (1 - process.alpha_bar)
    error = S**2 / (1 + S**2 * snr[1:])
    steps = float(((snr[:-1] - snr[1:]) * error).sum()) / (2 * math.log(2))
    last = float(process.alpha_bar[-1])
    prior = (last * (S**2 - 1) - math.log1p(-last)) / (2 * math.log(2))
    for part, expected in (
        (found.prior, prior),
        (found.steps, steps),
        (found.decoder, decoder_of_gaussians(process)),
    ):
        mean, deviation = mean_and_error(part)
        assert mean == pytest.approx(expected, abs=5 * deviation + 1e-3 * expected)


def test_the_bound_falls_to_the_entropy_as_steps_become_many():
    gaps = []
    for timesteps in (30, 100, 300, 1000):
        process, n = GaussianDiffusion(karras(timesteps, sigma_min=5e-4)), 60
        found = bound(process, ideal_of_levels, gaussian_images(n, 6), Noise(0, torch.arange(n)), points=12)
        mean, deviation = mean_and_error(found.total)
        gaps.append(mean - entropy())
        assert gaps[-1] > -5 * deviation
    assert all(more > 2 * less for more, less in pairwise(gaps)), gaps
    assert gaps[-1] < 0.2


@pytest.mark.parametrize("timesteps", [1, 5])
def test_an_estimate_from_some_timesteps_has_the_mean_of_all(timesteps):
    """The same image 4000 times, each with its own random numbers."""
    process, n = GaussianDiffusion(cosine(30)), 4000
    x_0 = gaussian_images(1, size=4).expand(n, -1, -1, -1)
    noise = Noise(0, torch.arange(n))
    some, whole = (bound(process, ideal, x_0, noise, points=count) for count in (timesteps, None))
    (mean, deviation), (expected, error) = mean_and_error(some.steps), mean_and_error(whole.steps)
    assert mean == pytest.approx(expected, abs=4 * math.hypot(deviation, error))
    assert torch.equal(some.decoder, whole.decoder)
    assert torch.equal(some.prior, whole.prior)


@given(guess=st.floats(-1, 1), timesteps=st.sampled_from([2, 10, 1000]))
def test_the_probabilities_of_a_pixels_levels_sum_to_1(guess, timesteps):
    process = GaussianDiffusion(linear(timesteps))
    levels = (torch.arange(256, dtype=torch.float64) / 127.5 - 1).view(256, 1, 1, 1)
    bits = decoder_bits(process, levels, torch.full_like(levels, guess))
    assert float((-bits).exp2().sum()) == pytest.approx(1, abs=1e-9)


@given(guess=st.floats(-1, 1), level=st.integers(0, 255))
def test_the_probability_of_a_level_is_that_of_its_interval(guess, level):
    """Against scipy, from the nearer tail."""
    process = GaussianDiffusion(linear(1000))
    deviation = float(1 - process.alpha_bar[0]) ** 0.5
    x = 2 * level / 255 - 1
    low = -math.inf if level == 0 else (x - 1 / 255 - guess) / deviation
    high = math.inf if level == 255 else (x + 1 / 255 - guess) / deviation
    low, high = (-high, -low) if low + high > 0 else (low, high)
    p = norm.logcdf(high) + np.log1p(-np.exp(norm.logcdf(low) - norm.logcdf(high)))
    seen = torch.tensor(guess, dtype=torch.float64).view(1, 1, 1, 1)
    found = decoder_bits(process, torch.tensor(x, dtype=torch.float64).view(1, 1, 1, 1), seen)
    assert float(found) == pytest.approx(-p / math.log(2), rel=1e-8, abs=1e-12)


@given(t=st.integers(1, 99), guess=st.floats(-1, 1))
def test_a_step_is_the_divergence_of_two_gaussians(t, guess):
    process = GaussianDiffusion(linear(100))
    x_0, x_t = (torch.linspace(start, 0.9, 16).double().view(1, 1, 4, 4) for start in (-0.9, 0.1))
    steps = torch.tensor([t])
    seen = torch.full_like(x_0, guess)
    step = posterior(process.sigma[t], process.sigma[t - 1])
    right, wrong = (torch.lerp(image, x_t, step.keep) for image in (x_0, seen))
    divergence = torch.distributions.kl_divergence(
        torch.distributions.Normal(right, step.small.sqrt()),
        torch.distributions.Normal(wrong, step.small.sqrt()),
    )
    found = step_bits(process, x_0, steps, seen)
    torch.testing.assert_close(found, divergence.mean(dim=(1, 2, 3)) / math.log(2), rtol=1e-7, atol=1e-9)
