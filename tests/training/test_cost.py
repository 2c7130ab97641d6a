"""Cost against counts by hand."""

import time
from dataclasses import replace
from functools import partial

import pytest
import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES, Likelihood
from gensweep.noise import Noise
from gensweep.training import estimate
from gensweep.training.cost import counted_calls, flop_counter, sample_flops, trained_parameters, training_flops
from gensweep.training.device import memory_bytes
from gensweep.training.learner_state import state_of
from gensweep.training.settings import LikelihoodSettings


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


def test_operations_of_a_diffusion_sample_grow_with_steps_and_double_with_guidance():
    def flops(steps, guidance=1.0):
        return sample_flops(tiny.build("diffusion", True, guidance=guidance, sampler={"kind": "ddim", "steps": steps}))

    assert flops(8) == 8 * flops(1) > 0
    assert flops(4, guidance=2.0) == 2 * flops(4)
    assert counted_calls(tiny.build("diffusion", True, guidance=2.0)).calls == 8


def test_the_cost_of_an_adaptive_sampler_is_that_of_the_weights():
    family, calls = tiny.build("flow", True, guidance=2.0, sampler={"kind": "dopri5"}), []
    network = family.networks["denoiser"]
    untrained = counted_calls(family).calls
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    found = counted_calls(family).calls
    network.eval().register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    with torch.no_grad():
        family.sample(network, Noise(0, torch.zeros(1, dtype=torch.int64)), torch.zeros(1, dtype=torch.int64))
    assert found == sum(calls) > untrained
    assert sample_flops(family) > 0


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_operations_of_a_meanflow_are_those_of_a_large_batch_whatever_its_share(share):
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


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_counting_leaves_the_family_as_it_was(kind):
    learner = tiny.learner(kind)
    before = {name: tensor.clone() for name, tensor in state_of(learner).items()}
    training_flops(learner.family, Loader(tiny.images(), seed=0))
    sample_flops(learner.family)
    assert all(torch.equal(before[name], tensor) for name, tensor in state_of(learner).items())
    assert all(network.training for network in learner.family.networks.values())
    assert all(p.grad is None for network in learner.family.networks.values() for p in network.parameters())


def test_parameters_of_all_networks_are_counted():
    family = tiny.build("gan")
    generator, discriminator = 6 * 8 * 16 + 16 + 8 * 16, 8 * 16 + 8 * 16
    assert sum(each.numel() for each in trained_parameters(family)) == generator + discriminator


def test_memory_is_that_of_this_process():
    assert 10**7 < memory_bytes(torch.device("cpu")) < 10**12


@pytest.mark.trains
@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_an_estimate_is_work_times_its_price(kind, monkeypatch):
    """Where a step, a call of the network for 16 images and a look at 16 images take a second each."""

    def seconds(work, device, patience):
        work()
        return 1.0

    monkeypatch.setattr(estimate, "_seconds", seconds)
    learner = tiny.learner(kind, images=80)
    likelihood = partial(LikelihoodSettings, images=50, timesteps=7, latents=7)
    evaluation = replace(tiny.evaluator(every=30, samples=100).settings, likelihood=likelihood)

    def cost_of(evaluation, workers):
        timing = estimate.time_networks(learner, tiny.images(), evaluation)
        arguments = (timing, learner.family, tiny.images(), learner.training, evaluation)
        return estimate.estimate_cost(*arguments, workers=workers)

    cost = cost_of(evaluation, workers=2)
    calls = counted_calls(learner.family).calls
    assert cost.images == 80
    assert cost.train_seconds == pytest.approx(80 / 8 / 2)
    assert cost.sample_seconds == pytest.approx(3 * 100 / 16 * calls / 2)
    assert cost.evaluate_seconds == pytest.approx(3 * 100 / 16 / 2)
    assert cost.seconds == pytest.approx(cost.train_seconds + cost.sample_seconds + cost.evaluate_seconds)
    if isinstance(learner.family, Likelihood):
        evaluation = replace(evaluation, metrics=("bpd",))
        cost = cost_of(evaluation, workers=1)
        looks = 16 * cost.evaluate_seconds / (3 * 50)
        # Some look at the least noise once more, some encode the image first, and some want two calls and a gradient,
        # which counts as another one.
        assert any(looks == pytest.approx(number) for number in (7, 7 + 1, 3 * 7))
        assert cost.sample_seconds == pytest.approx(3 * 64 / 16 * calls)


def test_the_fastest_repetition_counts_and_patience_ends_them():
    assert 0 < estimate._seconds(lambda: None, torch.device("cpu"), 10.0) < 1e-2
    calls = []
    assert estimate._seconds(lambda: calls.append(time.sleep(0.02)), torch.device("cpu"), 0.01) >= 0.02
    assert len(calls) == 1
