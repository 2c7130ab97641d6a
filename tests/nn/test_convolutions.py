"""Layers that are PyTorch's, computed in another way."""

import pytest
import torch
from torch import nn

from gensweep.nn.layers import MapToVector, VectorToMap
from gensweep.training.cost import flop_counter

LAYERS = {
    "vector to map": (VectorToMap, nn.ConvTranspose2d, (5, 6, 1, 1)),
    "map to vector": (MapToVector, nn.Conv2d, (5, 6, 4, 4)),
}


def results(layer, x):
    with flop_counter() as counter:
        y = layer(x)
        y.square().sum().backward()
    return [y, x.grad, *(each.grad for each in layer.parameters())], counter.get_total_flops()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("outputs", [1, 7])
def test_values_gradients_and_operations_are_those_of_pytorchs_layer(name, bias, memory_format, outputs):
    kind, pytorchs, shape = LAYERS[name]
    torch.manual_seed(0)
    layer = kind(6, outputs, 4, bias=bias).to(memory_format=memory_format)
    other = pytorchs(6, outputs, 4, bias=bias)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(shape).to(memory_format=memory_format)
    found, flops = results(layer, x.clone().requires_grad_())
    expected, flops_of_other = results(other, x.clone().requires_grad_())
    torch.testing.assert_close(found, expected)
    assert flops == flops_of_other
