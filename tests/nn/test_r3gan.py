"""R3GAN's networks against closed forms of their parts."""

import pytest
import torch
from torch.nn import functional as F

from gensweep.errors import ConfigError
from gensweep.nn.r3gan import Block, Resampling, r3gan


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_are_those_of_the_plan_for_cifar10():
    """Four stages of two blocks of 768 channels, 1536 inside, in 96 groups of 16; latent 64."""
    blocks = 8 * (768 * 1536 + 1536 + 1536 * 16 * 9 + 1536 + 1536 * 768)
    made = r3gan(3, 32, 0, 64)
    assert parameters(made.generator) == 64 * 768 + 768 * 16 + blocks + 768 * 3 == 20_732_160
    assert parameters(made.discriminator) == 3 * 768 + blocks + 768 * 16 + 768 == 20_683_776


def test_labels_enter_as_embeddings_and_a_projection():
    plain, made = r3gan(3, 32, 0, 64, width=32), r3gan(3, 32, 10, 64, width=32)
    assert parameters(made.generator) - parameters(plain.generator) == 10 * 64 + 64 * 32
    assert parameters(made.discriminator) - parameters(plain.discriminator) == 10 * 32 + 32 * 31
    discriminator = made.discriminator
    x, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 9, 1])
    with torch.no_grad():
        features = discriminator.features((discriminator.basis * discriminator.layers(x)).sum(dim=(2, 3)))
        expected = torch.einsum("bf,bf->b", features, discriminator.label.weight[labels])
        torch.testing.assert_close(discriminator(x, labels), expected)


def test_blocks_start_as_the_identity_and_keep_the_variance_inside():
    x = torch.randn(4, 128, 32, 32)
    block = Block(128, 16, blocks=1)
    assert torch.equal(block(x), x)
    inside = F.leaky_relu(block.grouped(F.leaky_relu(block.enter(x), 0.2)), 0.2)
    assert float(inside.detach().square().mean()) == pytest.approx(1, rel=0.05)
    many = Block(128, 16, blocks=16)
    assert float(many.enter.weight.detach().std() / block.enter.weight.detach().std()) == pytest.approx(0.5, rel=0.05)


def test_resampling_is_bilinear():
    """Inside, PyTorch's own doubling; halving is its transpose over 4, by the filter (1, 3, 3, 1) / 8."""
    x, taps = torch.randn(2, 3, 8, 8), torch.tensor([1.0, 3, 3, 1]) / 8
    up, down = Resampling(3, 3, 8, doubles=True), Resampling(3, 3, 4, doubles=False)
    theirs = F.interpolate(x, scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(up(x)[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1])
    kernel = (taps[:, None] * taps).expand(3, 1, 4, 4)
    torch.testing.assert_close(down(x), F.conv2d(x, kernel, stride=2, padding=1, groups=3))
    torch.testing.assert_close(up(x), F.conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=3))


@pytest.mark.parametrize(
    ("size", "settings", "message"),
    [
        (32, {"width": 20}, "groups of 16 channels .* a width of 20 and images of 32 px; use a multiple of 8,"),
        (64, {"width": 24}, "a width of 24 and images of 64 px; use a multiple of 16, or other group_channels"),
        (
            32,
            {"width": 9, "discriminator_width": 7, "group_channels": 9},
            "a discriminator_width of 7 .* multiple of 9",
        ),
        (28, {}, "r3gan: images of 28 px are not supported; use one of 8, 16, 32"),
    ],
)
def test_groups_and_sizes_that_do_not_fit_are_refused(size, settings, message):
    with pytest.raises(ConfigError, match=message):
        r3gan(3, size, 0, 8, **settings)
