"""Every registered loss goes through these; then each against its paper."""

import pytest
import torch

from gensweep.diffusion.levels import Drawn
from gensweep.diffusion.losses import LOSSES, MinSnr, Prediction, Simple
from gensweep.diffusion.parameterisations import PARAMETERISATIONS
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.schedules import linear

B = 4


def prediction(parameterisation="eps", *, learns_variance=False, wrong=0.1):
    """A network that is off by `wrong` everywhere."""
    generator = torch.Generator().manual_seed(0)
    process, t = GaussianDiffusion(linear(100)), torch.tensor([0, 3, 50, 99])
    x_0 = torch.rand(B, 3, 6, 6, generator=generator) * 2 - 1
    noise = torch.randn(B, 3, 6, 6, generator=generator)
    drawn = Drawn(process.sigma_at(t), t)
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


def test_the_simple_loss_of_a_right_answer_is_nothing_and_of_a_wrong_one_its_square():
    assert float(Simple()(prediction(wrong=0.0)).max()) < 1e-10
    torch.testing.assert_close(Simple()(prediction(wrong=0.5)), torch.full((B,), 0.25), rtol=1e-4, atol=0)


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
