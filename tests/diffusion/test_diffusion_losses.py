"""Every registered loss goes through these; then each against its paper."""

from dataclasses import replace

import pytest
import torch

from gensweep.config.models import bind, settings_model
from gensweep.diffusion.denoising_losses import LOSSES, Hybrid, MinSnr, Prediction, Simple, Vlb
from gensweep.diffusion.levels import TRAINING_LEVELS, DrawnLevels
from gensweep.diffusion.parameterisations import PARAMETERISATIONS
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.schedules import cosine, karras, linear
from gensweep.errors import ConfigError
from gensweep.families.diffusion import formulation
from gensweep.noise import Noise

B = 4


def prediction(parameterisation="eps", *, learns_variance=False, wrong=0.1):
    """A network that is off by `wrong` everywhere."""
    generator = torch.Generator().manual_seed(0)
    process, t = GaussianDiffusion(linear(100)), torch.tensor([0, 3, 50, 99])
    x_0 = torch.rand(B, 3, 6, 6, generator=generator) * 2 - 1
    noise = torch.randn(B, 3, 6, 6, generator=generator)
    drawn = DrawnLevels(process.sigma_at(t), t)
    coefficients = PARAMETERISATIONS[parameterisation](drawn.sigma)
    output = coefficients.target(x_0, noise, drawn.sigma) + wrong
    if learns_variance:
        output = torch.cat([output, torch.zeros_like(output)], dim=1)
    return Prediction(process, coefficients, x_0, noise, drawn, output)


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS.kinds())
@pytest.mark.parametrize("kind", LOSSES.kinds())
def test_a_loss_is_finite_one_number_an_image_and_grows_with_the_error(kind, parameterisation):
    loss = LOSSES[kind]()
    small, large = (
        loss(prediction(parameterisation, learns_variance=loss.learns_variance, wrong=wrong)) for wrong in (0.1, 0.5)
    )
    assert small.shape == (B,)
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
    made = prediction(kind, wrong=1.0)
    snr = made.process.alpha_bar[made.drawn.t] / (1 - made.process.alpha_bar[made.drawn.t])
    expected = weight(snr, snr.clamp(max=5.0)).float()
    torch.testing.assert_close(MinSnr(gamma=5.0)(made), expected, rtol=1e-4, atol=0)


def settings(loss, levels, parameterisation):
    """The formulation that a trial's YAML describes."""
    values = {"loss": {"kind": loss}, "levels": {"kind": levels}, "parameterisation": {"kind": parameterisation}}
    return bind(settings_model(formulation).model_validate({"timesteps": 12} | values))


PAIRS = [(loss, levels) for loss in LOSSES for levels in TRAINING_LEVELS]
IMPOSSIBLE = [
    (loss, levels) for loss, levels in PAIRS if LOSSES[loss].learns_variance and not TRAINING_LEVELS[levels].discrete
]


@pytest.mark.parametrize(("loss", "levels"), IMPOSSIBLE)
def test_loss_that_needs_timesteps_refuses_other_levels(loss, levels):
    with pytest.raises(ConfigError, match=rf"^loss: {loss} needs timesteps, but the levels {levels} .*$"):
        settings(loss, levels, "eps")()


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS.kinds())
@pytest.mark.parametrize(("loss", "levels"), [pair for pair in PAIRS if pair not in IMPOSSIBLE])
def test_every_loss_teaches_every_image_at_every_level(loss, levels, parameterisation):
    process, coefficients_of, loss_of, levels_of = settings(loss, levels, parameterisation)()
    noise = Noise(1, torch.arange(16))
    drawn = levels_of.draw(noise, 16)
    x_0, eps = noise.uniform(1, 4, 4, stream=99) * 2 - 1, noise.normal(1, 4, 4, stream=98)
    output = noise.normal(2 if loss_of.learns_variance else 1, 4, 4, stream=97).mul(0.3).requires_grad_()
    losses = loss_of(Prediction(process, coefficients_of(drawn.sigma), x_0, eps, drawn, output))
    assert losses.shape == (16,)
    (gradient,) = torch.autograd.grad(losses.mean(), output)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().sum(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("kind", PARAMETERISATIONS.kinds())
def test_hybrid_has_the_gradients_of_simple_and_of_the_bound(kind):
    made = prediction(kind, learns_variance=True, wrong=0.2)
    output = made.output + torch.linspace(-0.3, 0.3, made.output.numel()).view_as(made.output)

    def gradients(loss):
        leaf = output.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(replace(made, output=leaf)).sum(), leaf)
        return gradient[:, :3], gradient[:, 3:]

    hybrid, simple, vlb = gradients(Hybrid(weight=0.25)), gradients(Simple()), gradients(Vlb())
    torch.testing.assert_close(hybrid[0], simple[0])
    assert not simple[1].any()
    torch.testing.assert_close(hybrid[1], 0.25 * vlb[1])
    assert (vlb[1] != 0).all()


def test_the_gradient_of_the_bound_is_exact_far_from_the_mean():
    """In single precision that of log_ndtr is many times too large at ten thousand standard deviations."""
    process = GaussianDiffusion(karras(100, sigma_min=1e-4))
    x_0, t = torch.linspace(-0.99, 0.99, 48).view(1, 3, 4, 4), torch.tensor([0])
    drawn = DrawnLevels(process.sigma_at(t), t)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        output = torch.zeros(1, 6, 4, 4, dtype=dtype, requires_grad=True)
        made = Prediction(process, PARAMETERISATIONS["x0"](drawn.sigma), x_0.to(dtype), x_0 * 0, drawn, output)
        gradients += torch.autograd.grad(Vlb()(made).sum(), output)
    torch.testing.assert_close(gradients[0].double(), gradients[1], rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", PARAMETERISATIONS.kinds())
def test_bound_of_gaussian_images_has_its_closed_form(kind):
    """An ideal model has the variance of x_{t-1} given x_t, and E[KL] = ln(that / the variance given x_0 too) / 2."""
    process, s = GaussianDiffusion(cosine(30)), 0.4
    n = 2000
    t = torch.tensor([1, 8, 15, 29]).repeat_interleave(n)
    noise = Noise(0, torch.arange(len(t)))
    x_0, eps = s * noise.normal(1, 4, 4, stream=0), noise.normal(1, 4, 4, stream=1)
    drawn = DrawnLevels(process.sigma_at(t), t)
    sigma = drawn.sigma.view(-1, 1, 1, 1)
    ideal = s**2 / (s**2 + sigma**2) * (x_0 + sigma * eps)
    coefficients = PARAMETERISATIONS[kind](drawn.sigma)
    mean = (ideal - coefficients.skip * (x_0 + sigma * eps)) / coefficients.out
    # Marginals of Gaussian images: var(x_{t-1} | x_t) = var(x_{t-1}) - cov^2 / var(x_t).
    before, now = process.alpha_bar[t - 1], process.alpha_bar[t]
    var_before, var_now = before * s**2 + 1 - before, now * s**2 + 1 - now
    given_x_t = var_before - (now / before) * var_before**2 / var_now
    beta = 1 - now / before
    given_x_0 = beta * (1 - before) / (1 - now)
    fraction = (given_x_t / given_x_0).log() / (beta / given_x_0).log()
    variance = (2 * fraction - 1).float().view(-1, 1, 1, 1).expand_as(mean)
    output = torch.cat([mean, variance], dim=1)
    terms = Vlb()(Prediction(process, coefficients, x_0, eps, drawn, output)) / process.timesteps
    expected = (given_x_t / given_x_0).log2() / 2
    torch.testing.assert_close(terms.view(4, n).mean(dim=1).double(), expected.view(4, n)[:, 0], rtol=0.02, atol=1e-4)


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
    process, edm, loss, levels = bind(model)()
    noise = Noise(0, torch.arange(64))
    x_0, eps = noise.uniform(3, 4, 4, stream=1) * 2 - 1, noise.normal(3, 4, 4, stream=2)
    for drawn in (levels.draw(noise, 64), DrawnLevels(torch.tensor([0.002, 0.5, 80.0]).repeat_interleave(22)[:64])):
        output = noise.normal(3, 4, 4, stream=3)
        s = drawn.sigma.view(-1, 1, 1, 1).double()
        sd = 0.5
        denoised = sd**2 / (s**2 + sd**2) * (x_0 + s * eps) + s * sd / (s**2 + sd**2).sqrt() * output
        weight = ((s**2 + sd**2) / (s * sd) ** 2).flatten()
        expected = weight * (denoised - x_0).square().mean(dim=(1, 2, 3))
        losses = loss(Prediction(process, edm(drawn.sigma), x_0, eps, drawn, output))
        torch.testing.assert_close(losses.double(), expected, rtol=2e-3, atol=1e-4)
    assert [float(w) for w in weight[[0, 22, 44]]] == pytest.approx([250004.0, 8.0, 4.00016], rel=1e-6)
