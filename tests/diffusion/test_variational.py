"""The bound of variational diffusion in closed form, for Gaussian data and the denoiser that is ideal for them."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.diffusion.gamma import GAMMAS
from gensweep.diffusion.levels import draw_times
from gensweep.diffusion.variational import (
    DiffusionTerm,
    reconstruction_term,
    variational_bound,
)
from gensweep.noise import Noise

LOW, HIGH, STD = -8.0, 5.0, 0.25
LN2 = math.log(2)


def noise(n, start=0):
    return Noise(11, torch.arange(start, start + n))


def schedule(bend=None, low=LOW, high=HIGH, timesteps=None):
    """A line, or a schedule that is bent between the same ends."""
    if bend is None:
        return GAMMAS["linear"](timesteps, gamma_min=low, gamma_max=high)
    gamma = GAMMAS["monotone"](timesteps, gamma_min=low, gamma_max=high, features=8)
    generator = torch.Generator().manual_seed(bend)
    with torch.no_grad():
        for parameter in gamma.shape.parameters():
            parameter.add_(1.5 * torch.randn(parameter.shape, generator=generator))
    return gamma


def error(gamma):
    """|eps - E[eps | z]|^2 a pixel for data N(0, STD^2)."""
    return STD**2 / (STD**2 + gamma.exp())


def continuous_bits(low=LOW, high=HIGH):
    """1/2 of the integral of STD^2 / (STD^2 + e^gamma) over gamma."""
    return ((high - low) - math.log((STD**2 + math.exp(high)) / (STD**2 + math.exp(low)))) / (2 * LN2)


def gaps(n):
    """Times in the middle of n equal parts."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def ideal(x, sigma):
    return STD**2 / (STD**2 + sigma.view(-1, 1, 1, 1) ** 2) * x


def pictures(n, size=16):
    """Gaussian pixels at 256 levels; those of so small a deviation hardly reach the ends."""
    x = STD * noise(n).normal(1, size, size, stream=50)
    return ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


@pytest.mark.parametrize("bend", [None, 0, 1, 2])
def test_the_continuous_loss_is_that_of_its_ends_whatever_the_shape(bend):
    step = DiffusionTerm.at(schedule(bend), gaps(20_000))
    mean = float(step.bits(error(step.gamma)).mean().detach())
    assert mean == pytest.approx(continuous_bits(), rel=1e-5)


@pytest.mark.parametrize("bend", [None, 0, 1])
def test_the_discrete_loss_comes_down_to_the_continuous_one_as_steps_grow(bend):
    seen = []
    for timesteps in (2, 4, 8, 16, 64, 256, 4096):
        step = DiffusionTerm.at(schedule(bend, timesteps=timesteps), gaps(timesteps))
        seen.append(float(step.bits(error(step.gamma)).mean().detach()))
    assert all(more > fewer for more, fewer in itertools.pairwise(seen))
    assert all(value > continuous_bits() for value in seen)
    assert seen[-1] == pytest.approx(continuous_bits(), rel=2e-3)


def test_a_discrete_step_is_the_divergence_of_its_two_gaussians():
    """KL(q(z_s | z_t, x) || p(z_s | z_t)) written out with means and variances, for a wrong image."""
    timesteps, x, wrong, eps = 5, 0.3, -0.2, 0.7
    gamma = schedule(timesteps=timesteps)
    for index, u in enumerate(gaps(timesteps)):
        s, t = gamma(torch.tensor([index, index + 1], dtype=torch.float64) / timesteps).gamma
        alpha_s, alpha_t = torch.sigmoid(-s).sqrt(), torch.sigmoid(-t).sqrt()
        var_s, var_t = torch.sigmoid(s), torch.sigmoid(t)
        ratio = alpha_t / alpha_s
        between = var_t - ratio**2 * var_s
        variance = between * var_s / var_t
        off = alpha_s * between / var_t * (x - wrong)
        step = DiffusionTerm.at(gamma, u[None])
        # The noise that would make z_t of the wrong image.
        eps_hat = (alpha_t * (x - wrong) + var_t.sqrt() * eps) / var_t.sqrt()
        bits = step.bits((eps - eps_hat)[None] ** 2) / timesteps
        assert float(bits) == pytest.approx(float(off**2 / (2 * variance) / LN2), rel=1e-9)
        assert float(step.gamma) == pytest.approx(float(t))


@pytest.mark.parametrize(("timesteps", "points"), [(12, None), (100, 10), (None, 64)])
def test_the_bound_of_gaussian_data_is_the_closed_form(timesteps, points):
    x, gamma = pictures(200), schedule(0, timesteps=timesteps)
    with torch.no_grad():
        parts = variational_bound(gamma, ideal, x, noise(200), points=points)
    if timesteps is None:
        expected = continuous_bits()
    else:
        step = DiffusionTerm.at(gamma, gaps(timesteps))
        expected = float(step.bits(error(step.gamma)).mean().detach())
    assert parts.total.shape == (200,)
    # The weight of x^2 is that of the closed form only on average, so the pictures must have the data's variance.
    assert float(parts.steps.mean()) == pytest.approx(expected, rel=0.02)
    left = 1 / (1 + math.exp(HIGH))
    assert float(parts.prior.mean()) == pytest.approx((left * (STD**2 - 1) - math.log1p(-left)) / (2 * LN2), rel=0.02)
    # All of it lies above the entropy of the levels, and close to it where the steps are many.
    entropy = math.log2(STD * math.sqrt(2 * math.pi * math.e) * 127.5)
    assert float(parts.total.mean()) > entropy - 0.01
    if timesteps is None:
        assert float(parts.total.mean()) < entropy + 0.1


def test_few_points_give_the_bound_of_many_without_a_bias():
    x, gamma = pictures(300, size=4), schedule(1, timesteps=40)
    with torch.no_grad():
        every = variational_bound(gamma, ideal, x, noise(300)).steps
        some = variational_bound(gamma, ideal, x, noise(300), points=7).steps
    spread = float((some - every).std()) / math.sqrt(300)
    assert abs(float((some - every).mean())) < 4 * spread
    assert spread > 0


def exact_reconstruction(gamma, x_0, eps):
    """-log softmax over the 256 levels, as in the paper's own code."""
    levels = torch.arange(256, dtype=torch.float64) * 2 / 255 - 1
    z = x_0.double() + (gamma / 2).exp() * eps.double()
    logits = -0.5 * (-gamma).exp() * (z[..., None] - levels).square()
    index = ((x_0.double() + 1) * 127.5).round().long()[..., None]
    log_p = logits.log_softmax(dim=-1).gather(-1, index)[..., 0]
    return -log_p.mean(dim=(1, 2, 3)) / LN2


@pytest.mark.parametrize("low", [-13.3, -9.0, -6.0, -2.0])
def test_reconstruction_is_a_softmax_over_the_levels(low):
    x_0 = torch.cat([pictures(3, size=6), torch.full((1, 1, 6, 6), -1.0), torch.full((1, 1, 6, 6), 1.0)])
    eps = noise(5).normal(1, 6, 6, stream=51)
    values, slopes = [], []
    for function in (reconstruction_term, exact_reconstruction):
        gamma = torch.tensor(low, dtype=torch.float64, requires_grad=True)
        bits = function(gamma, x_0, eps)
        values.append(bits.detach())
        slopes.append(torch.autograd.grad(bits.sum(), gamma)[0])
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-6)


@given(st.integers(1, 64), st.integers(0, 1000))
def test_antithetic_times_are_one_in_each_part_of_a_batch(total, batch):
    t = draw_times(noise(total, start=batch * total), total, "antithetic")
    assert ((t >= 0) & (t < 1)).all()
    assert t.sort().values.diff(append=t.min()[None] + 1).tolist() == pytest.approx([1 / total] * total, abs=1e-6)


@pytest.mark.parametrize("timesteps", [None, 50])
def test_antithetic_times_lower_the_variance_of_the_loss(timesteps):
    def batches(drawing):
        t = torch.stack([draw_times(noise(32, start=32 * i), 32, drawing) for i in range(400)])
        step = DiffusionTerm.at(schedule(timesteps=timesteps), t.flatten())
        return step.bits(error(step.gamma)).view(t.shape).mean(dim=1)

    antithetic, independent = batches("antithetic"), batches("independent")
    assert float(antithetic.var()) < 0.05 * float(independent.var())
    assert float(antithetic.mean()) == pytest.approx(float(independent.mean()), rel=0.02)


def test_the_shape_minimises_the_variance_and_the_ends_the_loss():
    t, gamma = gaps(64), schedule(3)
    parameters = dict(gamma.named_parameters())
    nothing = (HIGH - LOW) / (2 * LN2)

    def bits():
        step = DiffusionTerm.at(gamma, t)
        return step, step.bits(error(step.gamma))

    _, loss = bits()
    squares = torch.autograd.grad((loss**2).mean() / (2 * nothing), list(parameters.values()), retain_graph=True)
    plain = torch.autograd.grad(loss.mean(), list(parameters.values()))
    step, loss = bits()
    step.lower_variance(gamma, loss)
    loss.mean().backward()
    for name, square, first in zip(parameters, squares, plain, strict=True):
        expected = first if name.startswith("ends") else square
        torch.testing.assert_close(parameters[name].grad, expected, rtol=1e-4, atol=1e-7, msg=name)
