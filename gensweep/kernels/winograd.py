"""Convolutions by Winograd's minimal filtering: 3 x 3 pixels, and 4 x 4 pixels that halve or double images.

In float32 and channels-last on a CPU with AVX-512 compiled kernels take a quarter of the products (of 4 x 4 pixels
two fifths), forward and backward, with errors of some 1e-6 instead of 3e-7.  Under autocast to bfloat16 they take four
ninths (nine sixteenths) where the processor has such products and no matrix units, with errors of some 4e-3 instead of
2e-3.  Elsewhere they are PyTorch's own.
Source: Winograd 1980; Lavin & Gray 2016, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gensweep.kernels import library

#: Side of the kernels' tiles, and channels per vector: with fewer channels they do not pay off.
TILE, LANES = 4, 16

Convolution: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def same_conv(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 3 3"], bias: Float[Tensor, " d"] | None, dilation: int = 1
) -> Float[Tensor, "b d h w"]:
    """The convolution of 3 x 3 pixels that lie `dilation` apart, with zeros around the images.

    The kernel and PyTorch agree to rounding.
    """
    return _convolved(same(dilation), x, weight, bias)


def halving_conv(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 4 4"], bias: Float[Tensor, " d"] | None
) -> Float[Tensor, "b d i j"]:
    """The convolution of 4 x 4 pixels in steps of 2, with zeros around the images, to half of their size."""
    return _convolved(HALVING, x, weight, bias)


def doubling_conv(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "c d 4 4"], bias: Float[Tensor, " d"] | None
) -> Float[Tensor, "b d i j"]:
    """The transpose of `halving_conv`, to twice the size."""
    return _convolved(DOUBLING, x, weight, bias)


def upsampling_conv(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 3 3"], bias: Float[Tensor, " d"] | None
) -> Float[Tensor, "b d i j"]:
    """`same_conv` of images with each pixel repeated, at twice the size.

    Repeating pixels is a transposed convolution with ones, so both are a single one, of the sums of 2 x 2 weights: 16
    products for each pixel of the input instead of 36, or of 9 by the kernel in float32.
    """
    if x.dtype == torch.float32 and is_compiled(same(), x, weight):
        return same_conv(F.interpolate(x, scale_factor=2.0), weight, bias)
    by_pixels = weight.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if by_pixels else torch.contiguous_format
    turned = weight.transpose(0, 1).flip(2, 3).contiguous(memory_format=layout)
    return doubling_conv(x, 4 * F.avg_pool2d(turned, 2, stride=1, padding=1), bias)


class Kind(NamedTuple):
    """A convolution by PyTorch, whose padding is its dilation, and its kernels; x is a whole number of tiles large."""

    torchs: Convolution
    transposed: bool
    stride: int
    dilation: int
    tile: int
    forward: Convolution
    by_inputs: Callable[[Tensor, Tensor], Tensor]
    by_weights: Callable[[Tensor, Tensor, Tensor], Tensor]


def is_compiled(kind: Kind, x: Tensor, weight: Tensor) -> bool:
    """Whether a kernel is used: on processors with AVX-512, for whole tiles and 16 channels or more.

    In float32, or under autocast to bfloat16 where that is faster than PyTorch's convolution.

    Code that inspects PyTorch's operations, such as a FLOP counter, sees its convolution.
    """
    return (
        library.is_plain(x)  # first, so that the rest is not traced
        and weight.dtype == torch.float32
        and _has_kernel(x.dtype)
        and not torch._C._len_torch_dispatch_stack()
        and x.is_contiguous(memory_format=torch.channels_last)
        and min(weight.shape[:2]) >= LANES
        and x.shape[1] == weight.shape[0 if kind.transposed else 1]
        and x.numel() > 0
        and x.shape[2] % kind.tile == x.shape[3] % kind.tile == 0
    )


def _has_kernel(dtype: torch.dtype) -> bool:
    """Whether the kernels of this processor compute what PyTorch makes of images of this type."""
    if library.library() is None:
        return False
    if not torch.is_autocast_enabled("cpu"):
        return dtype == torch.float32 and bool(library.kernels().winograd_is_compiled())
    half = torch.get_autocast_dtype("cpu") == torch.bfloat16 and dtype in (torch.float32, torch.bfloat16)
    return half and takes_bfloat16()


def takes_bfloat16() -> bool:
    """Whether there are kernels for images in bfloat16 here; they take weights in float32."""
    return library.library() is not None and bool(library.kernels().winograd_takes_bfloat16())


def _convolved(kind: Kind, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not is_compiled(kind, x, weight):
        return kind.torchs(x, weight, bias)
    if torch.is_autocast_enabled("cpu"):
        x = x.to(torch.bfloat16)
    return _Compiled.apply(kind, x, weight, bias)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]


class _Compiled(torch.autograd.Function):
    """A convolution by its kernels."""

    @staticmethod
    def forward(ctx: Any, kind: Kind, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.kind, ctx.outputs = kind, None if bias is None else [len(bias)]
        return kind.forward(x, _channels_last(weight), None if bias is None else bias.contiguous())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kind, (x, weight) = ctx.kind, ctx.saved_tensors
        _, by_x, by_weight, by_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():  # the gradients will be differentiated: the kernels have no second derivatives
            pairs = [[each, each] for each in (kind.stride, kind.dilation, kind.dilation)]
            settings = ctx.outputs, *pairs, kind.transposed, [0, 0], 1, (by_x, by_weight, by_bias)
            return None, *torch.ops.aten.convolution_backward(grads[0], x, weight.to(x.dtype), *settings)
        grad = _channels_last(grads[0])
        return (
            None,
            kind.by_inputs(grad, _channels_last(weight)) if by_x else None,
            kind.by_weights(x, grad, weight) if by_weight else None,
            grad.sum((0, 2, 3)).float() if by_bias else None,
        )


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _images(like: Tensor, channels: int, h: int, w: int) -> Tensor:
    # Not a view, as the caller may change it in place.
    return torch.empty(len(like), channels, h, w, dtype=like.dtype, memory_format=torch.channels_last)


def _run(name: str, shape: tuple[int, ...], images: Tensor, *others: Tensor | None) -> None:
    library.run(name, images.dtype == torch.bfloat16, shape, images, *others)


def _same(x: Tensor, weight: Tensor, bias: Tensor | None, *, dilation: int) -> Tensor:
    b, c, h, w = x.shape
    y = _images(x, len(weight), h, w)
    _run("same_convolution", (b, h, w, dilation, c, len(weight)), x, weight, bias, y)
    return y


def _same_by_inputs(grad: Tensor, weight: Tensor, *, dilation: int) -> Tensor:
    b, d, h, w = grad.shape
    dx = _images(grad, weight.shape[1], h, w)
    _run("same_input_gradient", (b, h, w, dilation, d, weight.shape[1]), grad, weight, dx)
    return dx


def _same_by_weights(x: Tensor, grad: Tensor, weight: Tensor, *, dilation: int) -> Tensor:
    b, c, h, w = x.shape
    gradient = torch.empty_like(weight, memory_format=torch.channels_last)
    _run("same_filter_gradient", (b, h, w, dilation, c, len(weight)), x, grad, gradient)
    return gradient


def _halved(fine: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    b, c, h, w = fine.shape
    coarse = _images(fine, len(weight), h // 2, w // 2)
    _run("halving_convolution", (b, h // 2, w // 2, c, len(weight)), fine, weight, bias, coarse)
    return coarse


def _doubled(coarse: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    b, d, h, w = coarse.shape
    fine = _images(coarse, weight.shape[1], 2 * h, 2 * w)
    _run("doubling_convolution", (b, h, w, weight.shape[1], d), coarse, weight, bias, fine)
    return fine


def _halved_by_weights(fine: Tensor, coarse: Tensor, weight: Tensor) -> Tensor:
    b, d, h, w = coarse.shape
    gradient = torch.empty_like(weight, memory_format=torch.channels_last)
    _run("halving_filter_gradient", (b, h, w, fine.shape[1], d), fine, coarse, gradient)
    return gradient


def _doubled_by_weights(coarse: Tensor, fine: Tensor, weight: Tensor) -> Tensor:
    return _halved_by_weights(fine, coarse, weight)


def _torchs_same(x: Tensor, weight: Tensor, bias: Tensor | None, *, dilation: int) -> Tensor:
    if dilation == 1 or x.device.type != "cpu" or _is_sound(x, weight):
        return F.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
    out = F.conv2d(x.contiguous(), weight.contiguous(), bias, padding=dilation, dilation=dilation)
    return _channels_last(out)


def _is_sound(x: Tensor, weight: Tensor) -> bool:
    """True if oneDNN differentiates a dilated convolution correctly: with 8, 16, 32, ... channels.

    Otherwise, in bfloat16 and channels-last, on processors with AVX-512 for bfloat16 and no AMX, it (PyTorch 2.13)
    reads past its buffers: the process crashes, or the weight gradient contains garbage.
    """
    inputs = weight.shape[1]
    return inputs <= LANES or inputs % LANES == 0 or (x.is_contiguous() and weight.is_contiguous())


@cache
def same(dilation: int = 1) -> Kind:
    """The convolution of `same_conv`."""
    kernels = (partial(each, dilation=dilation) for each in (_same, _same_by_inputs, _same_by_weights))
    torchs = partial(_torchs_same, dilation=dilation)
    return Kind(torchs, False, 1, dilation, TILE * dilation, *kernels)


HALVING = Kind(partial(F.conv2d, stride=2, padding=1), False, 2, 1, 2 * TILE, _halved, _doubled, _halved_by_weights)
DOUBLING = Kind(
    partial(F.conv_transpose2d, stride=2, padding=1), True, 2, 1, TILE, _doubled, _halved, _doubled_by_weights
)
