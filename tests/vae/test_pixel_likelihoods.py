"""Every pixel likelihood: its levels, its mean and its draws; and the logistic mixture against PixelCNN++'s formula."""

import itertools
import math

import pytest
import torch

from gensweep.noise import Noise
from gensweep.vae.pixel_likelihoods import PIXEL_LIKELIHOODS, SHARED_DEVIATION_RATE, LogisticMixturePixels

LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1
MADE = [
    pytest.param(kind, settings, id=f"{kind}-{'-'.join(map(str, settings.values()))}")
    for kind, settings in [(kind, {}) for kind in PIXEL_LIKELIHOODS]
    + [("gaussian", {"deviation": "pixel"}), ("logistic_mixture", {"components": 1})]
]


def said(pixels, spread, n=1, size=1):
    """Outputs for n images, and parameters of the likelihood, of some spread."""
    for parameter in pixels.parameters():
        torch.nn.init.constant_(parameter, -spread / SHARED_DEVIATION_RATE)
    return spread * torch.randn(1, pixels.outputs, size, size, dtype=torch.float64).expand(n, -1, -1, -1)


@torch.no_grad()
@pytest.mark.parametrize("spread", [0.0, 0.7, 4.0, 30.0])
@pytest.mark.parametrize(("kind", "settings"), MADE)
def test_the_probabilities_of_a_values_256_levels_sum_to_1(kind, settings, spread):
    pixels = PIXEL_LIKELIHOODS[kind](1, **settings)
    log_p = pixels.log_p(said(pixels, spread, n=256), LEVELS.view(-1, 1, 1, 1))
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert (log_p <= 0).all()


def test_the_probabilities_of_all_colours_of_two_channels_sum_to_1():
    """Whose second channel follows the first."""
    pixels = LogisticMixturePixels(2, components=2)
    colours = torch.cartesian_prod(LEVELS, LEVELS)[:, :, None, None]
    log_p = pixels.log_p(said(pixels, 1.0, n=len(colours)), colours)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)


def test_a_mixture_of_three_channels_is_that_of_pixelcnn_plus_plus():
    """Written out pixel by pixel, with scalars: m_g = m + a r, m_b = m + b r + c g, in coordinates of one component."""
    pixels, x = LogisticMixturePixels(3, components=2), torch.tensor([0.2, -0.4, 1.0], dtype=torch.float64)
    output = said(pixels, 0.8).flatten()
    logits, means, scales, coefficients = (part.tolist() for part in output.split([2, 6, 6, 6]))

    def level(value, mean, log_scale):
        def cdf(edge):
            return 1 / (1 + math.exp(-(edge - mean) / math.exp(log_scale)))

        return (1 if value > 0.999 else cdf(value + 1 / 255)) - cdf(value - 1 / 255)

    total, (r, g, b) = 0.0, x.tolist()
    for k in range(2):
        (m0, m1, m2), (s0, s1, s2) = means[3 * k : 3 * k + 3], scales[3 * k : 3 * k + 3]
        c0, c1, c2 = (math.tanh(value) for value in coefficients[3 * k : 3 * k + 3])
        p = level(r, m0, s0) * level(g, m1 + c0 * r, s1) * level(b, m2 + c1 * r + c2 * g, s2)
        total += math.exp(logits[k]) / sum(map(math.exp, logits)) * p
    found = pixels.log_p(output.view(1, -1, 1, 1), x.view(1, 3, 1, 1))
    assert float(found) == pytest.approx(math.log(total), rel=1e-9)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "settings"), MADE)
def test_draws_have_the_frequencies_of_their_levels(kind, settings):
    pixels = PIXEL_LIKELIHOODS[kind](1, **settings)
    output, n = said(pixels, 1.0), 40_000
    drawn = pixels.draw(output.float().expand(n, -1, -1, -1), Noise(5, torch.arange(n)), stream=1)
    levels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().flatten().long()
    p = pixels.log_p(output.expand(256, -1, -1, -1), LEVELS.view(-1, 1, 1, 1)).exp()
    cumulated = torch.bincount(levels, minlength=256).cumsum(0) / n
    # Kolmogorov and Smirnov's bound at one in 10,000.
    assert float((cumulated - p.cumsum(0)).abs().max()) < 2.23 / math.sqrt(n)


def test_the_mean_of_a_mixture_of_channels_is_that_of_its_draws():
    """Of narrow components, so that hardly any draw is cut off at the ends."""
    pixels, n = LogisticMixturePixels(3, components=3), 40_000
    output = said(pixels, 0.3)
    output = output.clone()
    output[:, 3 + 9 : 3 + 18] -= 4
    drawn = pixels.draw(output.float().expand(n, -1, -1, -1), Noise(2, torch.arange(n)), stream=1)
    error = 4 * drawn.std(dim=0) / math.sqrt(n) + 1e-3
    assert ((drawn.mean(dim=0) - pixels.mean(output)[0]).abs() < error).all()


@pytest.mark.parametrize(("kind", "settings"), MADE)
def test_values_and_gradients_are_finite_in_float32(kind, settings):
    pixels = PIXEL_LIKELIHOODS[kind](1, **settings)
    for sign, spread in itertools.product((1, -1), (0.0, 5.0, 50.0)):
        output = (sign * said(pixels, spread, n=256).float()).requires_grad_()
        log_p = pixels.log_p(output, LEVELS.float().view(-1, 1, 1, 1))
        log_p.sum().backward()
        assert torch.isfinite(log_p).all()
        assert torch.isfinite(output.grad).all()
