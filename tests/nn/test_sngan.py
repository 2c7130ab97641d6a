"""The residual pair against the tables of its paper."""

import torch

from gensweep.nn.sngan import sngan


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def conv(inputs, outputs, kernel):
    return inputs * outputs * kernel**2 + outputs


def test_parameter_counts_are_those_of_the_papers_table_for_32_px():
    """Table 4: dense to 4x4x256, three blocks up, batch norm, 3x3 to RGB; four blocks of 128, sum pooling, dense."""
    up = 2 * (2 * 256) + 2 * conv(256, 256, 3) + conv(256, 256, 1)
    generator = 128 * 4096 + 4096 + 3 * up + 2 * 256 + conv(256, 3, 3)
    first = conv(3, 128, 3) + conv(128, 128, 3) + conv(3, 128, 1)
    halving = 2 * conv(128, 128, 3) + conv(128, 128, 1)
    discriminator = first + halving + 2 * (2 * conv(128, 128, 3)) + 128 + 1
    made = sngan(3, 32, 0, 128)
    assert parameters(made.generator) == generator == 4_276_739
    assert parameters(made.discriminator) == discriminator == 1_053_825


def test_labels_add_a_scale_and_a_shift_a_class_and_a_vector_a_class():
    plain, made = sngan(3, 32, 0, 128), sngan(3, 32, 10, 128)
    assert parameters(made.generator) - parameters(plain.generator) == 3 * 2 * 9 * 2 * 256
    assert parameters(made.discriminator) - parameters(plain.discriminator) == 10 * 128


def test_the_discriminator_is_the_plain_formula():
    """Sum-pooled features phi: psi(phi) + <e(y), phi>."""
    discriminator = sngan(3, 16, 4, 8, width=4, discriminator_width=4).discriminator.eval()
    x, labels = torch.randn(5, 3, 16, 16), torch.tensor([0, 1, 2, 3, 0])
    with torch.no_grad():
        h = x
        for block in discriminator.blocks:
            h = block(h)
        phi = h.clamp(min=0).flatten(2).sum(dim=2)
        expected = phi @ discriminator.logit.weight[0] + discriminator.logit.bias
        expected = expected + torch.einsum("bc,bc->b", discriminator.label.weight[labels], phi)
        torch.testing.assert_close(discriminator(x, labels), expected)
