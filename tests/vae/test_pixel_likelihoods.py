"""The distribution of pixels: its levels and its draws."""

import itertools
import math

import pytest
import torch

from gensweep.noise import Noise
from gensweep.vae import SHARED_DEVIATION_RATE, GaussianPixels

LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def said(pixels, spread, n=1, size=1):
    """Outputs for n images, and parameters of the likelihood, of some spread."""
    for parameter in pixels.parameters():
        torch.nn.init.constant_(parameter, -spread / SHARED_DEVIATION_RATE)
    return spread * torch.randn(1, pixels.outputs, size, size, dtype=torch.float64).expand(n, -1, -1, -1)


@torch.no_grad()
@pytest.mark.parametrize("spread", [0.0, 0.7, 4.0, 30.0])
@pytest.mark.parametrize("deviation", ["shared", "pixel"])
def test_the_probabilities_of_a_values_256_levels_sum_to_1(deviation, spread):
    pixels = GaussianPixels(1, deviation)
    log_p = pixels.log_p(said(pixels, spread, n=256), LEVELS.view(-1, 1, 1, 1))
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert (log_p <= 0).all()


@torch.no_grad()
@pytest.mark.parametrize("deviation", ["shared", "pixel"])
def test_draws_have_the_frequencies_of_their_levels(deviation):
    pixels = GaussianPixels(1, deviation)
    output, n = said(pixels, 1.0), 40_000
    drawn = pixels.draw(output.float().expand(n, -1, -1, -1), Noise(5, torch.arange(n)), stream=1)
    levels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().flatten().long()
    p = pixels.log_p(output.expand(256, -1, -1, -1), LEVELS.view(-1, 1, 1, 1)).exp()
    cumulated = torch.bincount(levels, minlength=256).cumsum(0) / n
    # Kolmogorov and Smirnov's bound at one in 10,000.
    assert float((cumulated - p.cumsum(0)).abs().max()) < 2.23 / math.sqrt(n)


@pytest.mark.parametrize("deviation", ["shared", "pixel"])
def test_values_and_gradients_are_finite_in_float32(deviation):
    pixels = GaussianPixels(1, deviation)
    for sign, spread in itertools.product((1, -1), (0.0, 5.0, 50.0)):
        output = (sign * said(pixels, spread, n=256).float()).requires_grad_()
        log_p = pixels.log_p(output, LEVELS.float().view(-1, 1, 1, 1))
        log_p.sum().backward()
        assert torch.isfinite(log_p).all()
        assert torch.isfinite(output.grad).all()
