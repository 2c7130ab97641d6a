"""Networks in bfloat16, and what of them may not be rounded."""

import torch
from kernel_paths import PATHS, running_on
from torch import nn
from torch.func import functional_call

from gensweep.nn.precision import rounded
from gensweep.nn.unet import UNet


def unet():
    torch.manual_seed(0)
    network = UNet(3, 16, 0, width=16, multipliers=(1, 2), blocks=1, attention=(8,)).eval()
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def in_bfloat16(network, weights, x, time):
    with torch.autocast("cpu", torch.bfloat16):
        return functional_call(network, weights, (x, time, None))


def test_weights_rounded_once_give_what_autocast_gives():
    network, x, time = unet(), torch.randn(2, 3, 16, 16), torch.tensor([3.0, 700.0])
    weights = rounded(network)
    assert all(weight.dtype == torch.bfloat16 for weight in weights.values())
    assert torch.equal(in_bfloat16(network, weights, x, time), in_bfloat16(network, {}, x, time))
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_in_evaluation_the_output_is_float32_and_near_that_of_float32():
    network, x, time = unet(), torch.randn(2, 3, 16, 16), torch.tensor([3.0, 700.0])
    with torch.no_grad():
        exact = network(x, time, None)
    output = in_bfloat16(network, rounded(network), x, time)
    assert output.dtype == torch.float32
    assert float((output - exact).norm() / exact.norm()) < 0.02


def test_kernels_are_as_near_to_float32_as_pytorch():
    network, x, time = unet(), torch.randn(8, 3, 16, 16), torch.linspace(0, 999, 8)

    def gradient(enabled):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = network(x.contiguous(memory_format=torch.channels_last), time, None)
        (output.float() - x).square().mean().backward()
        found = torch.cat([weight.grad.flatten() for weight in network.parameters()])
        network.zero_grad()
        return found

    exact, errors = gradient(enabled=False), {}
    for path in PATHS:
        with running_on(path):
            errors[path] = float((gradient(enabled=True) - exact).norm() / exact.norm())
    assert errors["c++"] < 1.25 * errors["torch"] < 0.02, errors
