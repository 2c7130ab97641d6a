"""Fourier features of an image as further channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["FourierFeatures"]


class FourierFeatures(nn.Module):
    """Appends sin(2^n pi x) and cos(2^n pi x) to x for some n, so that a network can tell neighbouring levels apart.

    For n = 8 a period is about one of the 256 levels of a pixel.  Source: Kingma et al. 2021, section 3.4, appendix C.
    """

    def __init__(self, exponents: Sequence[int]) -> None:
        super().__init__()
        self.exponents = tuple(exponents)

    def channels(self, channels: int) -> int:
        """The number of output channels for a number of input channels."""
        return channels * (1 + 2 * len(self.exponents))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """First x itself, then all channels' sines and cosines, n by n; in float32, as the phases are large."""
        x = x.float()
        phases = [2**n * math.pi * x for n in self.exponents]
        return torch.cat([x, *(wave(phase) for phase in phases for wave in (torch.sin, torch.cos))], dim=1)
