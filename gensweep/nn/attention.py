"""Attention over few pixels."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gensweep.kernels import library

#: Up to this number of pixels the attention weights of a head fit into the cache of a CPU core.
MAX_PIXELS_IN_CACHE = 512
#: The numbers of pixels and of channels of a head are multiples of this in the compiled kernel.
LANES = 16
#: Heads that nobody has chosen have up to this number of channels.
USUAL_HEAD_CHANNELS = 64


def usual_heads(channels: int) -> int:
    """The fewest heads of up to 64 channels that divide so many."""
    least = -(-channels // USUAL_HEAD_CHANNELS)
    return next(heads for heads in range(least, channels + 1) if channels % heads == 0)


def attend(qkv: Float[Tensor, "b n 3 heads d"]) -> Float[Tensor, "b n heads d"]:
    """softmax(q k^T / sqrt(d)) v of each head.

    In float32 it is PyTorch's fused attention.  In bfloat16 on a CPU there are no second derivatives: where processors
    have vectors of bfloat16 it is a compiled kernel, faster and as exact; elsewhere the backward pass is plain matrix
    products, which take half of the time of PyTorch's own.
    Source: Vaswani et al. 2017, eq. 1.
    """
    if is_short(qkv):
        return _Short.apply(qkv)  # type: ignore[no-any-return, no-untyped-call]
    return _fused(qkv)


def is_short(qkv: Tensor) -> bool:
    """Whether there are few pixels, on a CPU and in bfloat16, under no transform of autograd."""
    return (
        library.is_plain(qkv)  # first, so that what follows is not traced
        and qkv.dtype == torch.bfloat16
        and qkv.shape[1] <= MAX_PIXELS_IN_CACHE
    )


def is_compiled(qkv: Tensor) -> bool:
    """Whether there is a kernel for few pixels here, and so many."""
    fits = qkv.shape[1] % LANES == 0 and qkv.shape[4] % LANES == 0
    return fits and library.library() is not None and bool(library.kernels().attention_is_compiled())


def _run(name: str, qkv: Tensor, *others: Tensor) -> None:
    b, n, _, heads, d = qkv.shape
    *given, result = map(library.address, (qkv, *others))
    getattr(library.kernels(), name)(*given, (ctypes.c_int64 * 4)(b, n, heads, d), d**-0.5, result)


def _fused(qkv: Tensor) -> Tensor:
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


class _Short(torch.autograd.Function):
    """The attention weights are computed again in the backward pass, so only q, k and v are kept."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor) -> Tensor:
        ctx.save_for_backward(qkv)
        if not is_compiled(qkv):
            return _fused(qkv)
        y = torch.empty_like(qkv[:, :, 0], memory_format=torch.contiguous_format)
        _run("attention_forward", qkv.contiguous(), y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (qkv,) = ctx.saved_tensors
        if is_compiled(qkv):
            d_qkv = torch.empty_like(qkv, memory_format=torch.contiguous_format)
            _run("attention_backward", qkv.contiguous(), grads[0].contiguous(), d_qkv)
            return d_qkv
        return _gradient(qkv, grads[0])


def _gradient(qkv: Tensor, grad: Tensor) -> Tensor:
    """The gradient by matrix products."""
    b, n, _, heads, d = qkv.shape
    q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, b * heads, n, d)
    grad = grad.transpose(1, 2).reshape(b * heads, n, d)
    q = q * d**-0.5
    weights = torch.softmax(q @ k.mT, -1)
    d_scores = torch._softmax_backward_data(grad @ v.mT, weights, -1, weights.dtype)
    out = torch.empty_like(qkv)
    products = (d_scores @ k).mul_(d**-0.5), d_scores.mT @ q, weights.mT @ grad
    for i, product in enumerate(products):
        out[:, :, i] = product.view(b, heads, n, d).transpose(1, 2)
    return out
