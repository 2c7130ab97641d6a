"""Dropout whose masks the kernels take."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Mask(NamedTuple):
    """What dropout keeps of some images, and the factor of what it keeps."""

    kept: Bool[Tensor, "b c h w"]
    factor: float

    def __call__(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images with the rest set to 0."""
        kept = self.kept.contiguous() if x.is_contiguous() else self.kept
        return x * kept.to(x.dtype) * self.factor


class Dropout(nn.Dropout):
    """Dropout whose mask, on a CPU, is the same in every memory layout and precision, and cheap.

    64 random bits serve four values, where PyTorch draws for each.  The probability is rounded to a multiple of 2^-16.
    """

    def mask(self, shape: torch.Size) -> Mask | None:
        """A mask from PyTorch's global generator, channels-last; None if nothing is dropped."""
        if not self.training or not self.p:
            return None
        b, c, h, w = shape
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        bits = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = bits[: shape.numel()].view(b, h, w, c).permute(0, 3, 1, 2) >= dropped - 2**15
        return Mask(kept, 1 / (1 - dropped / 2**16))

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Values set to 0 or divided by 1 - p while training; the input otherwise."""
        if input.device.type != "cpu" or torch.compiler.is_compiling():  # which cannot trace how the bits are drawn
            return super().forward(input)
        mask = self.mask(input.shape)
        return input if mask is None else mask(input)
