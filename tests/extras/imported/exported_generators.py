"""Generators of other programs, written to files as these would."""

import warnings

import torch
from torch import nn

LATENT = 4


class Generator(nn.Module):
    """Its images depend on z and on nothing else."""

    def __init__(self, size: int = 8, channels: int = 1):
        super().__init__()
        self.size, self.channels = size, channels
        torch.manual_seed(0)
        self.linear = nn.Linear(LATENT, channels * size * size)

    def forward(self, z):
        return torch.tanh(self.linear(z)).view(-1, self.channels, self.size, self.size)


class Conditional(Generator):
    """Its images are as grey as their label says."""

    def forward(self, z, labels):
        grey = labels.float().view(-1, 1, 1, 1) / 10 - 0.5
        return grey.expand(-1, self.channels, self.size, self.size)


class Odd(Generator):
    """What comes out is what an expression makes of what should."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, z):
        return self.change(super().forward(z))


def export(file, module, *more):
    module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.trace(module, (torch.randn(3, LATENT), *more), check_trace=False).save(str(file))
