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

    Forward it is PyTorch's fused attention.  In bfloat16 on a CPU, the backward pass is plain matrix products, which
    take half of the time of PyTorch's own, and has no second derivatives; on processors with vectors of bfloat16 the
    forward pass is a compiled kernel that takes two fifths of the time and is as exact.
    Source: Vaswani et al. 2017, eq. 1.
    """
    if is_short(qkv):
        return _Short.apply(qkv)  # type: ignore[no-any-return, no-untyped-call]
    return _fused(qkv)


def is_short(qkv: Tensor) -> bool:
    """Whether the backward pass is by matrix products: on a CPU, in bfloat16, under no transform of autograd."""
    return (
        library.is_plain(qkv)  # first, so that what follows is not traced
        and qkv.dtype == torch.bfloat16
        and qkv.shape[1] <= MAX_PIXELS_IN_CACHE
    )


def is_compiled(qkv: Tensor) -> bool:
    """Whether the forward pass is by the kernel, if the backward pass is by matrix products."""
    fits = qkv.shape[1] % LANES == 0 and qkv.shape[4] % LANES == 0
    return fits and library.library() is not None and bool(library.kernels().attention_is_compiled())


def _compiled(qkv: Tensor) -> Tensor:
    b, n, _, heads, d = qkv.shape
    qkv, y = qkv.contiguous(), qkv.new_empty(b, n, heads, d)
    library.kernels().attention_forward(qkv.data_ptr(), (ctypes.c_int64 * 4)(b, n, heads, d), d**-0.5, y.data_ptr())
    return y


def _fused(qkv: Tensor) -> Tensor:
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


class _Short(torch.autograd.Function):
    """The attention weights are computed again in the backward pass, so only q, k and v are kept."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor) -> Tensor:
        ctx.save_for_backward(qkv)
        return _compiled(qkv) if is_compiled(qkv) else _fused(qkv)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (qkv,) = ctx.saved_tensors
        b, n, _, heads, d = qkv.shape
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, b * heads, n, d)
        grad = grads[0].transpose(1, 2).reshape(b * heads, n, d)
        q = q * d**-0.5
        weights = torch.softmax(q @ k.mT, -1)
        d_scores = torch._softmax_backward_data(grad @ v.mT, weights, -1, weights.dtype)
        out = torch.empty_like(qkv)
        products = (d_scores @ k).mul_(d**-0.5), d_scores.mT @ q, weights.mT @ grad
        for i, product in enumerate(products):
            out[:, :, i] = product.view(b, heads, n, d).transpose(1, 2)
        return out
