"""Cost against counts by hand."""

import pytest
import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.training.cost import counted_calls, flop_counter, sample_flops, training_flops


def generator_flops(width=8, latent=6):
    """Of one 8-px image: 1x1 to 4x4, then 4x4 to 8x8, both by transposed 4x4 convolutions."""
    first = 2 * latent * width * 16
    return first + 2 * width * 1 * 16 * 16


def discriminator_flops(width=8):
    return 2 * width * 16 * 16 + 2 * width * 16


def test_operations_of_a_gan_are_those_of_its_convolutions():
    family = tiny.build("gan")
    assert sample_flops(family) == generator_flops()
    each = training_flops(family, Loader(tiny.images(), seed=0))
    # Forward of G once and of D three times; backward is once for inputs (not images or latents) and once for weights.
    forward = generator_flops() + 3 * discriminator_flops()
    assert 2 * forward < each < 3 * forward


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_a_convolution_takes_twice_as_many_operations_backward_as_forward(groups, transposed):
    """Also in groups, and depthwise (8 groups of 8 channels), where each weight meets the channels of one group."""
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    layer = kind(8, 16, 3, stride=2, padding=1, groups=groups)
    x = torch.ones(5, 8, 7, 7, requires_grad=True)
    with flop_counter() as forward:
        y = layer(x)
    with flop_counter() as backward:
        y.sum().backward()
    # A weight is multiplied at each pixel of the smaller image: the output's, or the input's if it is transposed.
    pixels = 7 * 7 if transposed else 4 * 4
    assert y.shape[-1] == (13 if transposed else 4)
    each = 2 * 5 * pixels * 9 * (8 * 16 // groups)
    assert forward.get_total_flops() == each
    assert backward.get_total_flops() == 2 * each


@pytest.mark.parametrize("groups", [1, 4])
def test_the_first_layer_of_a_network_takes_no_gradient_by_its_images(groups):
    layer = torch.nn.Conv2d(8, 16, 3, padding=1, groups=groups)
    y = layer(torch.ones(5, 8, 7, 7))
    with flop_counter() as backward:
        y.sum().backward()
    assert backward.get_total_flops() == 2 * 5 * 49 * 9 * (8 * 16 // groups)


def test_operations_of_a_sample_follow_steps_and_guidance():
    def flops(steps, guidance=1.0):
        return sample_flops(tiny.build("diffusion", True, guidance=guidance, sampler={"kind": "ddim", "steps": steps}))

    assert flops(8) == 8 * flops(1) > 0
    assert flops(4, guidance=2.0) == 2 * flops(4)
    assert counted_calls(tiny.build("diffusion", True, guidance=2.0)).calls == 8


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_operations_of_a_meanflow_are_those_of_a_large_batch(share):
    learner = tiny.learner("meanflow", images=400, batch_size=40, family={"meanflow": {"share": share}})
    loader = Loader(tiny.images(), seed=0)
    with flop_counter() as counter:
        learner.step(loader)
    assert training_flops(learner.family, loader) == pytest.approx(counter.get_total_flops() / 40, rel=0.02)


GAMES = {
    "dcgan": {"gan": {"latent": 6}},
    "seldom": {"gan": {"latent": 6, "discriminator_steps": 2}},
    "r3gan": {
        "network": {"kind": "r3gan", "width": 8, "depth": 1},
        "gan": {"latent": 6, "loss": {"kind": "relativistic"}, "penalty": {"kind": "r1_r2"}},
    },
}


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("game", GAMES)
def test_operations_of_a_game_are_those_of_its_steps_in_parts_too(game, parts):
    learner = tiny.learner("gan", conditional=False, batch_size=8, accumulation=parts, family=GAMES[game])
    loader = Loader(tiny.images(), seed=0)
    with flop_counter() as counter:
        for _ in range(2):
            learner.step(loader)
    assert training_flops(learner.family, loader, parts) == pytest.approx(counter.get_total_flops() / 16)
