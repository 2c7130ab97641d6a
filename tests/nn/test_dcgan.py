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


@pytest.mark.parametrize("norm", ["layer", "spectral", "none"])
def test_without_batch_norm_the_discriminator_sees_images_one_by_one(norm):
    discriminator = dcgan(3, 16, 0, 5, width=8, discriminator_norm=norm).discriminator
    x = torch.randn(6, 3, 16, 16)
    for _ in range(50):  # spectral norm still moves a little, from pass to pass
        discriminator(x, None)
    torch.testing.assert_close(discriminator(x, None)[:2], discriminator(x[:2], None), rtol=1e-4, atol=1e-5)
