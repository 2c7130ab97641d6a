import copy

import pytest
import torch
from torch import nn

from gensweep.errors import ConfigError
from gensweep.nn.dcgan import dcgan


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("size", "generator", "discriminator"), [(64, 3_576_704, 2_765_568), (32, 1_068_928, 663_296)])
def test_parameter_counts_are_those_of_the_tutorial(size, generator, discriminator):
    made = dcgan(3, size, 0, 100)
    assert parameters(made.generator) == generator
    assert parameters(made.discriminator) == discriminator


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_power_of_two_builds_and_runs(size, channels):
    generator, discriminator = dcgan(channels, size, 0, 7, width=4)
    images = generator(torch.randn(2, 7), None)
    assert images.shape == (2, channels, size, size)
    assert discriminator(images, None).shape == (2,)


@pytest.mark.parametrize("size", [4, 28, 48, 512])
def test_other_sizes_are_refused_with_those_that_work(size):
    with pytest.raises(ConfigError, match=f"images of {size} px are not supported; use one of 8, 16, 32"):
        dcgan(3, size, 0, 100)


def test_the_initialisation_is_that_of_the_tutorial():
    for network in dcgan(3, 64, 10, 100):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.02)
                assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.4)
                assert not module.bias.any()
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
                assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
                assert getattr(module, "bias", None) is None


def test_the_label_enters_the_discriminator_as_a_projection():
    discriminator = dcgan(3, 16, 4, 100, width=8).discriminator.eval()
    x, labels = torch.randn(5, 3, 16, 16), torch.tensor([0, 1, 2, 3, 0])
    with torch.no_grad():
        features = discriminator.layers(x)
        phi = (features * discriminator.logit.weight).sum(dim=(1, 2, 3))
        projection = torch.einsum("bc,bchw->b", discriminator.label.weight[labels], features)
        torch.testing.assert_close(discriminator(x, labels), phi + projection)


def test_labels_in_the_batch_norms_leave_the_latent_vector_as_it_is():
    generator = dcgan(3, 32, 10, 100, labels="batch_norm").generator
    assert generator.label is None
    # A scale and a shift a class instead of one pair, for 256 + 128 + 64 channels.
    assert parameters(generator) == 1_068_928 + 9 * 2 * (256 + 128 + 64)


@pytest.mark.parametrize(
    ("norm", "count"),
    [("batch", 663_296), ("layer", 663_296), ("spectral", 663_296 - 384), ("none", 663_296 - 384)],
)
def test_norms_of_the_discriminator(norm, count):
    """Without a norm's scale and shift the convolutions have biases: one number a channel instead of two."""
    assert (
        parameters(dcgan(3, 32, 0, 100, width=16, discriminator_width=64, discriminator_norm=norm).discriminator)
        == count
    )


@pytest.mark.parametrize("norm", ["layer", "spectral", "none"])
def test_without_batch_norm_the_discriminator_sees_images_one_by_one(norm):
    discriminator = dcgan(3, 16, 0, 5, width=8, discriminator_norm=norm).discriminator
    x = torch.randn(6, 3, 16, 16)
    for _ in range(50):  # spectral norm still moves a little, from pass to pass
        discriminator(x, None)
    torch.testing.assert_close(discriminator(x, None)[:2], discriminator(x[:2], None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer", "spectral", "none"])
def test_gradients_are_the_same_in_both_memory_formats(norm):
    discriminator = dcgan(3, 32, 10, 100, width=16, discriminator_norm=norm).discriminator
    x, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        copied = copy.deepcopy(discriminator).to(memory_format=memory_format)
        copied(x.to(memory_format=memory_format), labels).sum().backward()
        found.append([each.grad for each in copied.parameters()])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)
