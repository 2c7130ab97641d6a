"""Every registered loss goes through these; then each against its paper."""

import pytest
import torch

from gensweep.config.models import bind, settings_model
from gensweep.diffusion.levels import LOSSES, TRAINING_LEVELS, min_snr
from gensweep.diffusion.parameterisations import PARAMETERISATIONS
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.schedules import linear
from gensweep.families.diffusion import formulation
from gensweep.noise import Noise

PROCESS, T = GaussianDiffusion(linear(100)), torch.tensor([0, 3, 50, 99])


def loss_at(loss, parameterisation, error):
    """Of four levels, for a mean squared error of the output."""
    sigma = PROCESS.sigma_at(T)
    return loss(torch.full_like(sigma, error), sigma, PARAMETERISATIONS[parameterisation](sigma).out.flatten())


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS.kinds())
@pytest.mark.parametrize("kind", LOSSES.kinds())
def test_a_loss_is_finite_one_number_an_image_and_grows_with_the_error(kind, parameterisation):
    small, large = (loss_at(LOSSES[kind], parameterisation, error) for error in (0.01, 0.25))
    assert small.shape == T.shape
    assert torch.isfinite(small).all()
    assert (large > small).all()


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("eps", lambda snr, least: least / snr),
        ("x0", lambda snr, least: least),
        ("v", lambda snr, least: least / (snr + 1)),
    ],
)
def test_min_snr_weights_are_the_published_ones(kind, weight):
    snr = PROCESS.alpha_bar[T] / (1 - PROCESS.alpha_bar[T])
    expected = weight(snr, snr.clamp(max=5.0)).float()
    torch.testing.assert_close(loss_at(min_snr, kind, 1.0), expected, rtol=1e-4, atol=0)


def settings(loss, levels, parameterisation):
    """The formulation that a trial's YAML describes."""
    values = {"loss": {"kind": loss}, "levels": {"kind": levels}, "parameterisation": {"kind": parameterisation}}
    return bind(settings_model(formulation).model_validate({"timesteps": 12} | values))


def losses_of(made, sigma, x_0, eps, output):
    """As the family computes them."""
    coefficients = made.parameterisation(sigma)
    error = (output - coefficients.target(x_0, eps, sigma)).square().mean(dim=(1, 2, 3))
    return made.loss(error, sigma, coefficients.out.flatten())


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS.kinds())
@pytest.mark.parametrize("levels", TRAINING_LEVELS.kinds())
@pytest.mark.parametrize("loss", LOSSES.kinds())
def test_every_loss_teaches_every_image_at_every_level(loss, levels, parameterisation):
    made, noise = settings(loss, levels, parameterisation)(), Noise(1, torch.arange(16))
    x_0, eps = noise.uniform(1, 4, 4, stream=99) * 2 - 1, noise.normal(1, 4, 4, stream=98)
    output = noise.normal(1, 4, 4, stream=97).mul(0.3).requires_grad_()
    losses = losses_of(made, made.levels(made.process, noise, 16), x_0, eps, output)
    assert losses.shape == (16,)
    (gradient,) = torch.autograd.grad(losses.mean(), output)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_simple_with_edm_has_karras_weighting():
    """lambda(sigma) |D - x_0|^2 with lambda = (sigma^2 + sd^2) / (sigma sd)^2.  Source: Karras et al. 2022, table 1."""
    model = settings_model(formulation).model_validate(
        {
            "timesteps": 18,
            "schedule": {"kind": "karras"},
            "parameterisation": {"kind": "edm"},
            "levels": {"kind": "lognormal"},
        }
    )
    made, noise = bind(model)(), Noise(0, torch.arange(64))
    x_0, eps = noise.uniform(3, 4, 4, stream=1) * 2 - 1, noise.normal(3, 4, 4, stream=2)
    fixed = torch.tensor([0.002, 0.5, 80.0]).repeat_interleave(22)[:64]
    for sigma in (made.levels(made.process, noise, 64), fixed):
        output = noise.normal(3, 4, 4, stream=3)
        s = sigma.view(-1, 1, 1, 1).double()
        sd = 0.5
        denoised = sd**2 / (s**2 + sd**2) * (x_0 + s * eps) + s * sd / (s**2 + sd**2).sqrt() * output
        weight = ((s**2 + sd**2) / (s * sd) ** 2).flatten()
        expected = weight * (denoised - x_0).square().mean(dim=(1, 2, 3))
        losses = losses_of(made, sigma, x_0, eps, output)
        torch.testing.assert_close(losses.double(), expected, rtol=2e-3, atol=1e-4)
    assert [float(w) for w in weight[[0, 22, 44]]] == pytest.approx([250004.0, 8.0, 4.00016], rel=1e-6)
