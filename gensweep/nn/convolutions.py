"""Convolutions as networks use them: PyTorch's layers, with the same parameters, computed in faster ways on a CPU."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.kernels import doubling_conv, halving_conv, same_conv
from gensweep.kernels.library import is_plain


class SameConv2d(nn.Conv2d):
    """A convolution of 3 x 3 pixels that lie `dilation` apart; images keep their size."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, 3, padding=dilation, dilation=dilation)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The images, convolved."""
        return same_conv(input, self.weight, self.bias, self.dilation[0])


class HalvingConv2d(nn.Conv2d):
    """A convolution of 4 x 4 pixels to half of the images' height and width."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        """The images, convolved."""
        return halving_conv(input, self.weight, self.bias)


class DoublingConv2d(nn.ConvTranspose2d):
    """A transposed convolution of 4 x 4 pixels to twice the images' height and width."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1, bias=bias)

    def forward(
        self, input: Float[Tensor, "b c h w"], output_size: list[int] | None = None
    ) -> Float[Tensor, "b d i j"]:
        """The images, convolved."""
        return doubling_conv(input, self.weight, self.bias)


class VectorToMap(nn.ConvTranspose2d):
    """A vector for each image becomes a map as large as the kernel: a matrix product, which PyTorch does not see."""

    def __init__(self, inputs: int, outputs: int, size: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, size, bias=bias)

    def forward(
        self, input: Float[Tensor, "b c 1 1"], output_size: list[int] | None = None
    ) -> Float[Tensor, "b d h w"]:
        """The maps, in the layout of the weights."""
        if not is_plain(input) or not self.weight.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input, output_size)
        products = input.flatten(1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        maps: Tensor = products.view(len(input), *self.kernel_size, -1).permute(0, 3, 1, 2)
        return maps if self.bias is None else maps + self.bias[:, None, None]


class MapToVector(nn.Conv2d):
    """A map as large as the kernel becomes a vector for each image: a matrix product, which PyTorch does not see."""

    def __init__(self, inputs: int, outputs: int, size: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, size, bias=bias)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 1 1"]:
        """The vectors, as maps of one pixel."""
        if not is_plain(input) or not self.weight.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        pixels, weight = (each.permute(0, 2, 3, 1).flatten(1) for each in (input, self.weight))
        return F.linear(pixels, weight, self.bias)[:, :, None, None]
