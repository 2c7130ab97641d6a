"""Spectral norms against singular value decomposition, by power iteration and by torch.linalg.svd."""

import pytest
import torch
from torch import nn

from gensweep.nn.networks import ADVERSARIES, spectrally_normalised

#: Networks with a spectral norm.
PAIRS = {"dcgan": {"discriminator_norm": "spectral"}, "sngan": {"discriminator_width": 8}}


def matrix(module):
    """The weight as it is used, outputs by inputs."""
    weight = module.weight.detach()
    return weight.transpose(0, 1).flatten(1) if isinstance(module, nn.ConvTranspose2d) else weight.flatten(1)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", PAIRS)
def test_the_largest_singular_value_of_every_weight_goes_to_1(kind, classes):
    torch.manual_seed(0)
    discriminator = ADVERSARIES[kind](3, 16, classes, 6, True, width=8, **PAIRS[kind]).discriminator
    x, labels, time = torch.randn(2, 3, 16, 16), torch.tensor([0, 1]), torch.zeros(2)
    for _ in range(200):
        discriminator(x, labels, time)
    discriminator.eval()
    layers = [module for module in discriminator.modules() if hasattr(module, "parametrizations")]
    weighted = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert layers == weighted
    for layer in layers:
        assert float(torch.linalg.svdvals(matrix(layer))[0]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding])
def test_a_layer_without_memory_has_the_same_shapes(layer):
    arguments = (3, 5, (2, 4)) if "Conv" in layer.__name__ else (3, 5)
    with torch.device("meta"):
        weightless = spectrally_normalised(layer(*arguments)).state_dict()
    real = spectrally_normalised(layer(*arguments)).state_dict()
    assert {name: tensor.shape for name, tensor in weightless.items()} == {
        name: tensor.shape for name, tensor in real.items()
    }
    assert all(tensor.is_meta for tensor in weightless.values())
