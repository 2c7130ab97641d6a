"""How near samplers come to what is known exactly, and whether they are the algorithms of their papers.

For data N(MEAN, STD^2) the ideal denoiser is linear.  The probability flow then keeps (x - MEAN) / sqrt(STD^2 +
sigma^2) constant, and with noise on the way each image is a linear mixture of independent normal numbers.
"""

import itertools
import math

import pytest
import torch

from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.samplers.methods import ancestral, ddim, dpmpp_2m, euler, heun
from gensweep.diffusion.samplers.sampler import FIRST_STEP_STREAM, SAMPLERS, from_noise
from gensweep.diffusion.schedules import karras, linear
from gensweep.noise import Noise

MEAN, STD = 0.3, 0.4
SPACINGS = ["time", "karras", "log_snr"]


def ideal(x, sigma, *_):
    """E[x_0 | x] for images whose pixels are N(MEAN, STD^2)."""
    return MEAN + STD**2 * (x - MEAN) / (STD**2 + sigma**2)


def two_humps(x, sigma, *_):
    """E[x_0 | x] for pixels that are N(0.6, 0.2^2) or N(-0.6, 0.2^2): not linear."""
    total = 0.2**2 + sigma**2
    return (0.2**2 * x + sigma**2 * 0.6 * torch.tanh(0.6 * x / total)) / total


def noise(n):
    return Noise(11, torch.arange(n))


def first(n=2, size=8):
    """Where sampling starts, in float64."""
    return from_noise(noise(n).normal(1, size, size, stream=3).double())


def flow(x, high, low):
    """The probability flow of Gaussian data from a level to a lower one."""
    return MEAN + (x - MEAN) * math.sqrt((STD**2 + low**2) / (STD**2 + high**2))


def error(sample, process, steps, **settings):
    """How far images are from those of infinitely many steps, whose last goes from the lowest level to 0 at once."""
    low, high = float(process.sigma[0]), float(process.sigma[-1])
    limit = ideal(flow(first()(high), high, low), low)
    return float((sample(process, ideal, first(), noise(2), steps=steps, **settings) - limit).abs().max())


def orders(errors):
    """Orders of convergence from the errors at steps that double."""
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


@pytest.mark.parametrize(
    ("kind", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmpp_2m", 2)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_deterministic_samplers_have_their_order(kind, order, spacing):
    process = GaussianDiffusion(karras(4000))
    settings = {} if kind == "ddim" else {"spacing": spacing}
    errors = [error(SAMPLERS[kind], process, steps, **settings) for steps in (100, 200, 400)]
    assert orders(errors) == pytest.approx([order] * 2, abs=0.15)


class Basis(Noise):
    """Sample i has one random number that is 1, that of stream `samples[i]`; all its others are 0."""

    def normal(self, *shape, stream):
        return (self.samples == stream).double().view(-1, *[1] * len(shape)).expand(-1, *shape)


def moments(sample, steps, **settings):
    """Mean and standard deviation of a pixel, exactly: it is a sum over the independent numbers that it depends on."""
    process = GaussianDiffusion(karras(2000))
    # The last sample has no randomness at all, the one before it only that of its start.
    basis = Basis(0, torch.tensor([*range(FIRST_STEP_STREAM, FIRST_STEP_STREAM + steps), -1, -2]))

    def start(sigma):
        return MEAN + math.sqrt(STD**2 + sigma**2) * basis.normal(1, 1, 1, stream=-1)

    x = sample(process, ideal, start, basis, steps=steps, **settings).flatten()
    low = float(process.sigma[0])
    return float(x[-1]), float((x[:-1] - x[-1]).square().sum().sqrt()), STD**2 / math.sqrt(STD**2 + low**2)


@pytest.mark.parametrize(
    ("sample", "settings", "order"),
    [
        (ancestral, {}, 0.9),
        (ancestral, {"variance": "large"}, 0.9),
        (ddim, {"eta": 1.0}, 0.9),
        (ddim, {"eta": 0.5}, 0.9),
        (heun, {"churn": 20.0}, 1.9),
        (heun, {"churn": 20.0, "churn_min": 0.05, "churn_max": 10.0}, 1.9),
        (heun, {"churn": 20.0, "spacing": "time"}, 1.9),
        (heun, {"churn": 80.0, "spacing": "log_snr"}, 1.0),  # as much as is allowed, at all steps but the finest
    ],
)
def test_stochastic_samplers_converge_to_the_data(sample, settings, order):
    errors = []
    for steps in (50, 100, 200, 400):
        mean, deviation, limit = moments(sample, steps, **settings)
        assert mean == pytest.approx(MEAN, abs=1e-10)
        errors.append(abs(deviation - limit))
    assert errors[-1] < 0.02 * STD
    assert min(orders(errors)) > order


@pytest.mark.parametrize("steps", [1, 2, 9, None])
def test_euler_equals_ddim_with_eta_0_on_equal_levels(steps):
    process, n = GaussianDiffusion(linear(40)), noise(2)
    torch.testing.assert_close(
        euler(process, two_humps, first(), n, steps=steps, spacing="time"),
        ddim(process, two_humps, first(), n, steps=steps),
        rtol=1e-11,
        atol=1e-11,
    )


def paper_heun(sigmas, denoise, x, z, churn, low, high, scale):
    """Karras et al. 2022, algorithm 2, line by line; t_i are `sigmas`, t_N = 0, and z(i) is the noise of step i."""
    n = len(sigmas) - 1
    for i in range(n):
        gamma = min(churn / n, math.sqrt(2) - 1) if low <= sigmas[i] <= high else 0.0
        t_hat = sigmas[i] + gamma * sigmas[i]
        x_hat = x + math.sqrt(t_hat**2 - sigmas[i] ** 2) * scale * z(i)
        d = (x_hat - denoise(x_hat, t_hat)) / t_hat
        x = x_hat + (sigmas[i + 1] - t_hat) * d
        if sigmas[i + 1] != 0:
            d_prime = (x - denoise(x, sigmas[i + 1])) / sigmas[i + 1]
            x = x_hat + (sigmas[i + 1] - t_hat) * (d / 2 + d_prime / 2)
    return x


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 18])
@pytest.mark.parametrize("churn", [0.0, 3.0, 40.0])
def test_heun_is_algorithm_2_of_karras(spacing, steps, churn):
    process, n = GaussianDiffusion(karras(1000)), noise(2)
    stirred = {"churn": churn, "churn_min": 0.05, "churn_max": 50.0, "churn_noise": 1.003}
    calls = []

    def denoise(x, sigma, *_):
        calls.append(sigma)
        return two_humps(x, sigma)

    x = heun(process, denoise, first(), n, steps=steps, spacing=spacing, **stirred)
    sigmas = process.sigmas(steps, spacing)
    expected = paper_heun(
        sigmas,
        two_humps,
        first()(sigmas[0]),
        lambda i: n.normal(1, 8, 8, stream=FIRST_STEP_STREAM + steps - 1 - i),
        *stirred.values(),
    )
    torch.testing.assert_close(x, expected, rtol=1e-8, atol=1e-8)
    assert len(calls) == 2 * steps - 1


def paper_dpmpp_2m(alphas, stds, denoise, x, least):
    """Lu et al. 2022 (DPM-Solver++), algorithm 2, on images x_t = alpha_t x_0 + sigma_t eps, as a variance-preserving
    process has them; the last step, to lambda = infinity, is DDIM's.  `denoise` takes (x_t, i).  In the last of
    them r is at least `least`, which is 0 in the paper."""
    lambdas = [math.log(alpha / std) for alpha, std in zip(alphas, stds, strict=True)]
    buffer, h_last = [denoise(x, 0)], None
    for i in range(1, len(alphas)):
        h = lambdas[i] - lambdas[i - 1]
        d = buffer[-1]
        if h_last is not None:
            r = max(h_last / h, least if i == len(alphas) - 1 else 0)
            d = (1 + 1 / (2 * r)) * buffer[-1] - 1 / (2 * r) * buffer[-2]
        x = stds[i] / stds[i - 1] * x - alphas[i] * (math.exp(-h) - 1) * d
        buffer.append(denoise(x, i))
        h_last = h
    return buffer[-1]


@pytest.mark.parametrize(("spacing", "least"), [("time", 1), ("karras", 1), ("log_snr", 0)])
@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_dpm_solver_is_algorithm_2_of_lu(spacing, least, steps):
    process, n = GaussianDiffusion(linear(1000)), noise(2)
    sigmas = process.sigmas(steps, spacing)[:-1]
    alphas = [1 / math.sqrt(1 + sigma**2) for sigma in sigmas]
    stds = [alpha * sigma for alpha, sigma in zip(alphas, sigmas, strict=True)]
    torch.testing.assert_close(
        dpmpp_2m(process, two_humps, first(), n, steps=steps, spacing=spacing),
        paper_dpmpp_2m(
            alphas, stds, lambda x, i: two_humps(x / alphas[i], sigmas[i]), alphas[0] * first()(sigmas[0]), least
        ),
        rtol=1e-8,
        atol=1e-8,
    )
