"""The GAN family against the plain recipe of its paper."""

import copy

import torch
from tiny import batch, build
from torch.nn import functional as F

from gensweep.families.gan import TRAINING_LATENT_STREAM


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


def test_each_network_has_its_own_learning_rate():
    family = build("gan", gan={"generator_learning_rate": 1e-3, "discriminator_learning_rate": 2e-3})
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in family.optimizers().items()}
    assert rates == {"generator": 1e-3, "discriminator": 2e-3}
