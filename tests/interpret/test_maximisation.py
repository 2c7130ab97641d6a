"""Images are made that units ask for, and the same ones whoever asks for them."""

import pytest
import torch
from known_label import LABEL, LAYER, family
from tiny import SIZE, build

from gensweep.interpret.activation_maps import ActivationMap
from gensweep.interpret.maximisation import denoised_from, maximise
from gensweep.interpret.recording import reading_layers, recording
from gensweep.noise import Noise

SHAPE = (1, SIZE, SIZE)


def unet():
    made = build("diffusion", True)
    for parameter in made.networks["denoiser"].eval().parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def maximised(made, layer, weights, samples=(0, 1), seed=0, sigma=0.5, **settings):
    layers = reading_layers(made.networks)
    noise = Noise(seed, torch.tensor(samples))
    return maximise(made, layers[layer], torch.tensor(weights), noise, SHAPE, sigma, **settings)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_unit_that_is_the_brightness_asks_for_white_or_black(sign):
    made = maximised(family(), "denoiser.first", [sign])
    assert (made.image * sign).mean() > 0.8
    assert made.image.abs().max() <= 1
    assert (made.after > made.before + 0.5).all()


def test_units_behind_normalisations_are_raised_further_than_by_any_of_many_images_and_the_network_is_as_before():
    """Nothing but the activation counts: these units move so little that a penalty on the image would outweigh them."""
    made, layer = unet(), "denoiser.middle.0.leave.2"
    network = made.networks["denoiser"]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights = torch.linspace(-1, 1, 16)
    many = Noise(5, torch.arange(256))
    noisy = many.normal(*SHAPE, stream=0).clamp(-1, 1) + 0.5 * many.normal(*SHAPE, stream=1)
    with torch.no_grad(), recording({layer: reading_layers(made.networks)[layer]}) as units:
        made.denoise(network, None)(noisy, 0.5)
    by_chance = units[layer] @ weights
    found = maximised(made, layer, weights.tolist(), smooth=0.0, small=0.0)
    assert (found.after > by_chance.max()).all()
    assert (found.after > found.before + 3 * by_chance.std()).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    torch.testing.assert_close(found.noisy - found.image, found.start)


def test_an_image_depends_on_its_seed_alone():
    made = unet()
    weights = torch.linspace(-1, 1, 16).tolist()
    layer = "denoiser.middle.0.leave.2"
    both, second = (maximised(made, layer, weights, samples, steps=5).image for samples in ((0, 1), (1,)))
    torch.testing.assert_close(both[1:], second)
    again = maximised(made, layer, weights, steps=5).image
    assert torch.equal(both, again)
    assert not torch.allclose(both, maximised(made, layer, weights, seed=1, steps=5).image)
    assert not torch.allclose(both[0], both[1])


@pytest.mark.trains
def test_smoothing_smooths():
    made = unet()
    weights = torch.linspace(-1, 1, 16).tolist()
    rough, even = (maximised(made, "denoiser.middle.0.leave.2", weights, smooth=smooth).image for smooth in (0.0, 5.0))
    assert even.diff(dim=3).abs().mean() < rough.diff(dim=3).abs().mean()


def test_the_sampler_goes_on_from_the_image_down():
    made = family()
    network, noise = made.networks["denoiser"], Noise(0, torch.arange(2))
    noisy = torch.randn(2, *SHAPE)
    seen, drawn = denoised_from(made, noisy, 0.5, noise)
    assert torch.equal(seen, made.denoise(network, None)(noisy, 0.5).x_0)
    assert drawn.shape == noisy.shape
    assert (drawn < -0.5).all()  # without the label images are dark


def test_a_direction_weighs_units_by_effect_over_spread_and_leaves_out_silent_ones():
    effect = torch.tensor([[[1.0, -3.0, 2.0], [0.0, 0.0, 0.0]]]).double()
    found = ActivationMap(
        {"a": 1, "b": 2}, (0.5,), effect, torch.ones_like(effect), torch.tensor([[2.0, 4.0, 0.0]]).double()
    )
    assert found.direction(0, "b", 0).tolist() == [-0.6 / 4, 0.0]
    assert found.direction(0, "a", 0, unit=0).tolist() == [0.5]
    assert found.direction(LABEL, "b", 0).tolist() == [0.0, 0.0]
    assert LAYER.startswith("denoiser")
