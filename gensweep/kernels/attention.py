"""Attention over few pixels, as one operation."""

from __future__ import annotations

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


def attend(qkv: Float[Tensor, "b n 3 heads d"]) -> Float[Tensor, "b n heads d"]:
    """softmax(q k^T / sqrt(d)) v of each head.

    The kernel is faster than PyTorch's fused attention and as exact, but has no second derivatives.
    Source: Vaswani et al. 2017, eq. 1.
    """
    if is_compiled(qkv):
        return _Attention.apply(qkv)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def is_compiled(qkv: Tensor) -> bool:
    """True for few pixels in bfloat16 on a CPU with vectors of it, if nothing traces or transforms the operation."""
    return (
        library.is_plain(qkv)  # first: the other conditions must not be traced
        and qkv.dtype == torch.bfloat16
        and qkv.shape[1] <= MAX_PIXELS_IN_CACHE
        and qkv.shape[1] % LANES == qkv.shape[4] % LANES == 0
        and library.library() is not None
        and bool(library.kernels().attention_is_compiled())
    )


def _run(name: str, result: Tensor, qkv: Tensor, *others: Tensor) -> None:
    b, n, _, heads, d = qkv.shape
    library.run(name, qkv, *others, (b, n, heads, d), d**-0.5, result)


class _Attention(torch.autograd.Function):
    """The attention weights are computed again in the backward pass, so only q, k and v are kept."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor) -> Tensor:
        ctx.save_for_backward(qkv)
        y = torch.empty_like(qkv[:, :, 0], memory_format=torch.contiguous_format)
        _run("attention_forward", y, qkv.contiguous())
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (qkv,) = ctx.saved_tensors
        d_qkv = torch.empty_like(qkv, memory_format=torch.contiguous_format)
        _run("attention_backward", d_qkv, qkv.contiguous(), grads[0].contiguous())
        return d_qkv
