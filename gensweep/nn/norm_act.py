"""Group normalisation, scale and shift, SiLU and dropout, as one operation.

What comes between two convolutions is simple to compute but takes many passes over the memory, most of all on a CPU.
Where a compiler is at hand (`nn.compiled`) it is done in two passes forward and two backward, and only the input is
kept for the way back; elsewhere it is a composition of PyTorch's operations.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gensweep.nn.compiled import kernels

__all__ = ["composed", "is_fused", "norm_act"]


def norm_act(
    x: Float[Tensor, "b c h w"],
    norm: nn.Module,
    scale_shift: Float[Tensor, "b twice_c"] | None = None,
    *,
    act: bool = True,
    dropout: nn.Module | None = None,
) -> Float[Tensor, "b c h w"]:
    """dropout(silu(norm(x) (1 + scale) + shift)), where scale is the first half of `scale_shift`, norm a GroupNorm.

    Without `act` there is no SiLU.  The compiled form has no second derivatives; its dropout draws 64 bits from
    PyTorch's generator and the masks from those.
    Source: Nichol & Dhariwal 2021, section 3 (scale and shift by time).
    """
    if not is_fused(x, norm, dropout):
        return composed(x, norm, scale_shift, act=act, dropout=dropout)
    p = dropout.p if dropout is not None and dropout.training else 0.0
    return _NormAct.apply(x, norm.weight, norm.bias, scale_shift, norm.num_groups, norm.eps, act, p)  # type: ignore[no-any-return, no-untyped-call]


def composed(
    x: Float[Tensor, "b c h w"],
    norm: nn.Module,
    scale_shift: Float[Tensor, "b twice_c"] | None = None,
    *,
    act: bool = True,
    dropout: nn.Module | None = None,
) -> Float[Tensor, "b c h w"]:
    """`norm_act` by PyTorch's operations."""
    h = norm(x)
    if scale_shift is not None:
        scale, shift = scale_shift[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, h, 1 + scale)
    h = F.silu(h) if act else h
    return h if dropout is None else dropout(h)


def is_fused(x: Tensor, norm: nn.Module, dropout: nn.Module | None = None) -> bool:
    """Whether the kernel does it: on a CPU, channels-last, in float32 or bfloat16, under no transform of autograd."""
    return (
        isinstance(norm, nn.GroupNorm)
        and isinstance(dropout, nn.Dropout | None)
        and torch._C._functorch.peek_interpreter_stack() is None
        and x.device.type == "cpu"
        and type(x) in (Tensor, nn.Parameter)
        and x.dtype in (torch.float32, torch.bfloat16)
        and norm.weight.dtype == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
        and forward_ad._current_level < 0
        and kernels() is not None
    )


class _NormAct(torch.autograd.Function):
    """The kernels of norm_act.cpp, with the gradients that they return in sums over pixels."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale_shift: Tensor | None,
        groups: int,
        eps: float,
        act: bool,
        p: float,
    ) -> Tensor:
        b, c, h, w = x.shape
        shape = (ctypes.c_int64 * 4)(b, h * w, c, groups)
        condition = None if scale_shift is None else scale_shift.float().contiguous()
        seed = int(torch.empty((), dtype=torch.int64).random_()) if p else 0
        y = torch.empty_like(x, memory_format=torch.channels_last)
        stats = torch.empty(b, groups, 2)
        settings = int(act), seed, p
        _library().norm_act_forward(
            *(x.dtype == torch.bfloat16, _at(x), shape, _at(weight), _at(bias), _at(condition), eps),
            *(*settings, _at(y), _at(stats)),
        )
        ctx.save_for_backward(x, weight, bias, scale_shift, stats)
        ctx.shape, ctx.settings = shape, settings
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, scale_shift, stats = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        condition = None if scale_shift is None else scale_shift.float().contiguous()
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        sums = torch.empty(2, len(x), x.shape[1])  # over pixels: of dz, and of dz times the normalised x
        _library().norm_act_backward(
            *(x.dtype == torch.bfloat16, _at(grad), _at(x), ctx.shape, _at(weight), _at(bias), _at(condition)),
            *(*ctx.settings, _at(stats), _at(dx), _at(sums)),
        )
        plain, times = sums
        if condition is None:
            return dx, times.sum(0), plain.sum(0), None, None, None, None, None
        scale = 1 + condition[:, : x.shape[1]]
        d_condition = torch.cat([times * weight + plain * bias, plain], dim=1).to(scale_shift.dtype)
        return dx, (times * scale).sum(0), (plain * scale).sum(0), d_condition, None, None, None, None


def _library() -> ctypes.CDLL:
    library = kernels()
    assert library is not None, "is_fused comes first"
    return library


def _at(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
