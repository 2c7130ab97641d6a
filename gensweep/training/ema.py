"""Averaged weights, which draw better samples than the last ones."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["Ema", "decay"]

#: At first the half-life is this part of the images seen, so that the start is soon forgotten.
RAMP = 0.05


class Ema:
    """An exponential moving average of a network's parameters and buffers, with a half-life in images.

    `network` is a copy that holds the average, always in evaluation mode.  Source: Karras et al. 2022, appendix F.2.
    """

    def __init__(self, network: nn.Module, half_life: int) -> None:
        self.half_life = half_life
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, images: int, batch_size: int) -> None:
        """Take in the weights after `images` training images, the last `batch_size` of them since the last call."""
        weight = 1 - decay(images, batch_size, self.half_life)
        # Running statistics are averaged like the weights that they belong to; counters are taken over.
        mine = [*self.network.parameters(), *self.network.buffers()]
        theirs = [*network.parameters(), *network.buffers()]
        floats = [(a, b.detach()) for a, b in zip(mine, theirs, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], weight)
        for a, b in zip(mine, theirs, strict=True):
            if not a.is_floating_point():
                a.copy_(b)


def decay(images: int, batch_size: int, half_life: int) -> float:
    """What is left of the old average: 0.5 ** (batch_size / min(half_life, RAMP * images))."""
    return float(0.5 ** (batch_size / max(min(half_life, RAMP * images), 1e-8)))
