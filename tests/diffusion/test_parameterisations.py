"""Every registered parameterisation goes through these; then each against its paper."""

import pytest
import torch

from gensweep.diffusion.parameterisations import NETWORK_TIMES, PARAMETERISATIONS, edm, eps, v, velocity, x0

SIGMA = torch.tensor([0.002, 0.3, 1.0, 80.0], dtype=torch.float64)

every = pytest.mark.parametrize("kind", PARAMETERISATIONS.kinds())


def batch():
    generator = torch.Generator().manual_seed(0)
    x_0 = torch.rand(4, 2, 3, 3, generator=generator, dtype=torch.float64) * 2 - 1
    noise = torch.randn(4, 2, 3, 3, generator=generator, dtype=torch.float64)
    return x_0, noise, x_0 + SIGMA.view(-1, 1, 1, 1) * noise


@every
def test_the_target_is_what_denoises_to_the_image(kind):
    x_0, noise, x = batch()
    coefficients = PARAMETERISATIONS[kind](SIGMA)
    target = coefficients.target(x_0, noise, SIGMA)
    torch.testing.assert_close(coefficients.skip * x + coefficients.out * target, x_0)


@every
def test_inputs_of_unit_variance_stay_so_at_every_level(kind):
    """Only the straight path has (1 - t)^2 + t^2, from 1/2 to 1."""
    variance = SIGMA.square() + (0.5**2 if kind == "edm" else 1)
    if kind == "velocity":
        variance = (1 + SIGMA).square()
    torch.testing.assert_close(
        PARAMETERISATIONS[kind](SIGMA).into.flatten().square() * variance, torch.ones(4).double()
    )


@every
def test_times_are_on_the_scale_of_the_networks(kind):
    time = PARAMETERISATIONS[kind](torch.cat([SIGMA.new_tensor([1e-9]), SIGMA, SIGMA.new_tensor([1e9])])).time
    if time is not None:
        assert (time >= 0).all()
        assert (time < NETWORK_TIMES).all()
        assert (time.diff() >= 0).all()
        assert (time[1:-1].diff() > 0).all()


def test_targets_are_those_of_the_papers():
    x_0, noise, _ = batch()
    alpha_bar = (1 / (1 + SIGMA.square())).view(-1, 1, 1, 1)
    torch.testing.assert_close(eps(SIGMA).target(x_0, noise, SIGMA), noise)
    torch.testing.assert_close(x0(SIGMA).target(x_0, noise, SIGMA), x_0)
    torch.testing.assert_close(
        v(SIGMA).target(x_0, noise, SIGMA), alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * x_0
    )
    torch.testing.assert_close(velocity(SIGMA).target(x_0, noise, SIGMA), noise - x_0)


def test_edm_has_the_published_coefficients():
    sigma = torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64)
    skip, out, into, _ = edm(sigma)
    weight = out.flatten() ** -2
    torch.testing.assert_close(weight, torch.tensor([250004.0, 8.0, 4.0 + 1 / 6400]).double())
    torch.testing.assert_close(skip.flatten(), 0.25 / (sigma**2 + 0.25))
    torch.testing.assert_close(into.flatten(), (sigma**2 + 0.25).rsqrt())


def test_edm_for_data_of_unit_variance_is_v_with_the_other_sign():
    skip, out, into, _ = edm(SIGMA, sigma_data=1.0)
    other = v(SIGMA)
    torch.testing.assert_close(skip, other.skip)
    torch.testing.assert_close(out, -other.out)
    torch.testing.assert_close(into, other.into)
