import pytest
import torch

from gensweep.nn.cnn import CNN
from gensweep.nn.unet import UNet


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_it_sees_far():
    network = CNN(1, 32, 0, width=8, depth=4).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    # The norms look everywhere, so only their scale is kept.
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x
    network(x, torch.zeros(1), None)[0, 0, 16, 16].backward()
    assert x.grad[0, 0, 16].ne(0).sum() >= 31


def test_its_size_is_of_the_order_that_its_docstring_states():
    assert parameters(CNN(3, 32, 0)) == pytest.approx(2.7e6, rel=0.03)
    assert parameters(UNet(3, 32, 0)) == pytest.approx(6.9e6, rel=0.03)
    assert parameters(UNet(3, 32, 0, multipliers=(1, 2), blocks=1)) == pytest.approx(3.0e6, rel=0.03)
