"""Averaged weights, which give better samples than the last ones.

The best half-life is known only after sampling, so several averages are kept.  Each is exact whenever it is saved.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

#: Maximum of the half-life as a share of the images seen, so that early weights are forgotten soon.
RAMP_SHARE = 0.05
#: Name of the average that is evaluated in training; other half-lives are multiples of its.
MAIN_AVERAGE = "ema"


class Ema:
    """An exponential moving average of a network's parameters and buffers, with a half-life in images.

    `network` is a copy with the averaged weights, always in evaluation mode.  `factor` multiplies the half-life,
    including the shorter one at the start.  Source: Karras et al. 2022, appendix F.2.
    """

    def __init__(self, network: nn.Module, half_life: int, factor: float = 1.0) -> None:
        self.half_life, self.factor = half_life, factor
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, images: int, batch_size: int) -> None:
        """Add the weights after `images` training images, `batch_size` of them since the last call."""
        weight = 1 - decay(images, batch_size, self.half_life, self.factor)
        # Running statistics are averaged like the weights that they belong to; counters are taken over, and what is not
        # trained stays.
        parameters = zip(self.network.parameters(), network.parameters(), strict=True)
        pairs: list[tuple[Tensor, Tensor]] = [(mine, theirs) for mine, theirs in parameters if theirs.requires_grad]
        pairs += zip(self.network.buffers(), network.buffers(), strict=True)
        floats = [(mine, theirs.detach()) for mine, theirs in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [theirs for _, theirs in floats], weight)
        for mine, theirs in pairs:
            if not mine.is_floating_point():
                mine.copy_(theirs)


def averages(network: nn.Module, half_life: int, factors: Iterable[float]) -> dict[str, Ema]:
    """The main average and one per further factor, by name; none if the half-life is 0."""
    if not half_life:
        return {}
    return {average_name(factor): Ema(network, half_life, factor) for factor in (1.0, *factors)}


def average_name(factor: float) -> str:
    """Name of the average with a multiple of the main half-life: "ema", or "ema@0.25"."""
    return MAIN_AVERAGE if factor == 1 else f"{MAIN_AVERAGE}@{factor:g}"


def decay(images: int, batch_size: int, half_life: int, factor: float = 1.0) -> float:
    """Weight of the old average: 0.5 ** (batch_size / (factor * min(half_life, RAMP_SHARE * images)))."""
    return float(0.5 ** (batch_size / max(factor * min(half_life, RAMP_SHARE * images), 1e-8)))
