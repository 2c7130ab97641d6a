"""The GAN family against the plain recipe of its paper."""

import copy
import math

import pytest
import tiny
import torch
from tiny import batch, build
from torch.nn import functional as F

from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.families.gan import TRAINING_LATENT_STREAM
from gensweep.nn.r3gan import R3ganGenerator

#: R3GAN, and the same game between other networks.
PAIRED = {"latent": 6, "loss": {"kind": "relativistic"}, "penalty": {"kind": "r1_r2", "weight": 0.3}}
PAIRS = {
    "r3gan": {"kind": "r3gan", "width": 8, "depth": 1},
    "dcgan": {"kind": "dcgan", "width": 8},
    "sngan": {"kind": "sngan", "width": 8, "discriminator_width": 8},
}


def gradients(network):
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def test_a_step_has_the_gradients_of_the_textbook():
    family, data = build("gan"), batch()
    generator, discriminator = (copy.deepcopy(network) for network in family.networks.values())
    fake = generator(data.noise.normal(6, stream=TRAINING_LATENT_STREAM), None)
    real = F.binary_cross_entropy_with_logits(discriminator(data.images, None), torch.ones(6))
    false = F.binary_cross_entropy_with_logits(discriminator(fake.detach(), None), torch.zeros(6))
    (real + false).backward()
    expected = gradients(discriminator).clone()
    F.binary_cross_entropy_with_logits(discriminator(fake, None), torch.ones(6)).backward()

    values = {}
    for loss in family.losses(family.networks, data):
        loss.value.backward()
        values[loss.name] = loss.value.detach()
        if loss.name == "fake":
            torch.testing.assert_close(gradients(family.networks["discriminator"]), expected)
    torch.testing.assert_close(gradients(family.networks["generator"]), gradients(generator))
    torch.testing.assert_close(values["real"], real.detach())
    torch.testing.assert_close(values["fake"], false.detach())


def test_the_generators_loss_leaves_the_discriminator_without_gradient():
    family = build("gan")
    discriminator = family.networks["discriminator"]
    for loss in family.losses(family.networks, batch()):
        discriminator.zero_grad()
        loss.value.backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def paired_loss(discriminator, real, fake, labels):
    """The discriminator's loss as in the paper, of both penalties too, in one graph."""
    real, fake = (images.detach().requires_grad_() for images in (real, fake))
    logits = discriminator(real, labels), discriminator(fake, labels)
    value = F.softplus(logits[1] - logits[0]).mean()
    for images, of in zip((real, fake), logits, strict=True):
        (gradient,) = torch.autograd.grad(of.sum(), images, create_graph=True)
        value = value + 0.15 * gradient.square().sum(dim=(1, 2, 3)).mean()
    return value


def still(network):
    """With weights that hide nothing, norms that do not move, and images that are not clipped."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.train(isinstance(network, R3ganGenerator))


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("network", PAIRS)
def test_a_step_of_r3gan_has_the_gradients_of_the_textbook(network, conditional):
    family, data = build("gan", conditional, network=PAIRS[network], gan=PAIRED), batch()
    generator, discriminator = (still(each) for each in family.networks.values())
    labels = data.labels if conditional else None
    z = data.noise.normal(6, stream=TRAINING_LATENT_STREAM)
    judge, forger = copy.deepcopy(discriminator), copy.deepcopy(generator)
    paired_loss(judge, data.images, generator(z, labels), labels).backward()
    ahead = discriminator(forger(z, labels), labels) - discriminator(data.images, labels)
    F.softplus(-ahead).mean().backward()
    discriminator.zero_grad()

    names = []
    for loss in family.losses(family.networks, data):
        loss.value.backward()
        names.append((loss.name, loss.update))
    for mine, expected in ((discriminator, judge), (generator, forger)):
        largest = float(gradients(expected).abs().max())
        torch.testing.assert_close(gradients(mine), gradients(expected), rtol=1e-4, atol=1e-5 * largest)
    assert names == [("pairs", False), ("penalty", False), ("penalty_fake", True), ("generator", True)]


@pytest.mark.parametrize("network", PAIRS)
def test_gradients_of_the_penalised_loss_are_those_of_finite_differences(network):
    """In double precision, along a random direction of all weights; a step that short crosses no kink of a ReLU."""
    discriminator = still(build("gan", True, network=PAIRS[network], gan=PAIRED).networks["discriminator"]).double()
    real, fake = torch.rand(2, 4, 1, tiny.SIZE, tiny.SIZE, dtype=torch.float64) * 2 - 1
    labels = torch.tensor([0, 1, 2, 0])
    weights = list(discriminator.parameters())
    step = [torch.randn_like(weight) for weight in weights]

    slopes = torch.autograd.grad(paired_loss(discriminator, real, fake, labels), weights)
    values = []
    for distance in (-1e-9, 2e-9):
        with torch.no_grad():
            torch._foreach_add_(weights, step, alpha=distance)
        values.append(float(paired_loss(discriminator, real, fake, labels).detach()))
    expected = (values[1] - values[0]) / 2e-9
    assert sum(float((a * b).sum()) for a, b in zip(slopes, step, strict=True)) == pytest.approx(expected, rel=1e-4)


def test_the_burn_in_takes_rates_beta2_and_penalty_along_half_a_cosine():
    burn_in = {"burn_in": 32, "final_rate": 0.25, "final_beta2": 0.99, "beta2": 0.9, "generator_learning_rate": 1e-3}
    gan = PAIRED | burn_in | {"penalty": {"kind": "r1_r2", "weight": 1.0, "final_weight": 0.1}}
    learner = tiny.learner("gan", family={"network": PAIRS["r3gan"], "gan": gan})
    loader, seen = Loader(tiny.images(), seed=3), []
    for _ in range(6):
        learner.step(loader)
        (group,) = learner.optimizers["generator"].param_groups
        seen.append((group["lr"], group["betas"][1]))
    share = [0.5 - 0.5 * math.cos(math.pi * min(1.0, images / 32)) for images in (8, 16, 24, 32, 40, 48)]
    assert [rate for rate, _ in seen] == pytest.approx([1e-3 * (1 - 0.75 * each) for each in share])
    assert [beta2 for _, beta2 in seen] == pytest.approx([0.9 + 0.09 * each for each in share])

    values = []
    for step in (0, 2, 9):
        data = batch()._replace(step=step, total=8)
        losses = {loss.name: loss.value for loss in learner.family.losses(learner.family.networks, data)}
        values.append(losses["penalty"].detach() + losses["penalty_fake"].detach())
    torch.testing.assert_close(values[1], values[0] * 0.55)  # half of the way from 1 to 0.1
    torch.testing.assert_close(values[2], values[0] * 0.1)


def test_what_changes_within_a_burn_in_needs_one():
    with pytest.raises(
        ConfigError, match=r"final_rate, penalty.final_weight: .* set its length in images as gan.burn_in"
    ):
        build("gan", gan={"final_rate": 0.5, "penalty": {"kind": "r1_r2", "final_weight": 0.1}})
