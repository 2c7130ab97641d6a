"""Convolutions of 3 x 3 pixels that keep the size of images.

In float32 and channels-last on a CPU, a compiled kernel takes a quarter of the products: about half of the time of
PyTorch's own convolution, forward and backward, with errors of some 1e-6 instead of 3e-7.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gensweep.nn.kernels import library

#: The kernel's tiles have this side, and its vectors hold so many channels: with fewer it is not worth its while.
TILE, LANES = 4, 16


def same_conv(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 3 3"], bias: Float[Tensor, " d"] | None
) -> Float[Tensor, "b d h w"]:
    """The convolution with zeros around the images; the kernel and PyTorch agree to rounding.

    Source: Lavin & Gray 2016, section 4 (the kernel).
    """
    if not is_compiled(x, weight):
        return F.conv2d(x, weight, bias, padding=1)
    return _SameConv.apply(x, weight, bias)  # type: ignore[no-any-return, no-untyped-call]


def is_compiled(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel is used: in float32, on processors with AVX-512, for whole tiles and 16 channels or more.

    Whatever looks at PyTorch's operations, as one that counts them, sees its convolution.
    """
    return (
        library.is_plain(x)  # first, so that what follows is not traced
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._len_torch_dispatch_stack()
        and x.is_contiguous(memory_format=torch.channels_last)
        and min(weight.shape[:2]) >= LANES
        and x.shape[1] == weight.shape[1]
        and x.numel() > 0
        and x.shape[2] % TILE == x.shape[3] % TILE == 0
        and library.library() is not None
        and bool(library.kernels().winograd_is_compiled())
    )


class _SameConv(torch.autograd.Function):
    """The kernels of winograd.cpp."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _convolved(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():  # the gradients will be differentiated: the kernel has no second derivatives
            wanted = by_x, by_weight, by_bias and ctx.biased
            settings = [len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1
            return tuple(torch.ops.aten.convolution_backward(grads[0], x, weight, *settings, wanted))
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        return (
            _convolved(grad, weight, turned=True) if by_x else None,
            _filter_gradient(x, grad, weight) if by_weight else None,
            grad.sum((0, 2, 3)) if by_bias else None,
        )


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, turned: bool = False) -> Tensor:
    """The convolution; turned, it is the one that takes gradients by its results to those by its inputs."""
    (b, inputs, h, w), outputs = x.shape, weight.shape[1 if turned else 0]
    weight = weight.contiguous(memory_format=torch.channels_last)
    bias = None if bias is None else bias.contiguous()
    y = x.new_empty(b, h, w, outputs).permute(0, 3, 1, 2)
    shape = (ctypes.c_int64 * 5)(b, h, w, inputs, outputs)
    at = None if bias is None else bias.data_ptr()
    library.kernels().winograd_convolution(x.data_ptr(), shape, weight.data_ptr(), turned, at, y.data_ptr())
    return y


def _filter_gradient(x: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    b, inputs, h, w = x.shape
    outputs = grad.shape[1]
    gradient = torch.empty_like(weight, memory_format=torch.channels_last)
    shape = (ctypes.c_int64 * 5)(b, h, w, inputs, outputs)
    library.kernels().winograd_filter_gradient(x.data_ptr(), grad.data_ptr(), shape, gradient.data_ptr())
    return gradient
