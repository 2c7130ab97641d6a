"""Group normalisation, scale and shift, SiLU and dropout, as one operation.

The work between two convolutions is simple but needs many passes over the memory, especially on a CPU.  The compiled
kernel needs two forward and two backward, and keeps only the input and the mask for the backward pass.  Elsewhere it is
a composition of PyTorch's operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.kernels import library


def norm_act(
    x: Float[Tensor, "b c h w"],
    norm: nn.Module,
    scale_shift: Float[Tensor, "b twice_c"] | None = None,
    *,
    act: bool = True,
    dropout: nn.Module | None = None,
) -> Float[Tensor, "b c h w"]:
    """dropout(silu(norm(x) (1 + scale) + shift)), where scale is the first half of `scale_shift`, norm a GroupNorm.

    Without `act` there is no SiLU.  The kernel and the composition agree to rounding: PyTorch draws the mask for both.
    Source: Nichol & Dhariwal 2021, section 3 (scale and shift by time).
    """
    if not is_compiled(x, norm, scale_shift, dropout):
        return composed(x, norm, scale_shift, act=act, dropout=dropout)
    mask = dropout.mask(x.shape) if isinstance(dropout, Dropout) else None
    kept, factor = (None, 1.0) if mask is None else mask
    settings = norm.num_groups, norm.eps, act, factor
    return _NormAct.apply(x, norm.weight, norm.bias, scale_shift, kept, settings)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]


def composed(
    x: Tensor, norm: nn.Module, scale_shift: Tensor | None = None, *, act: bool = True, dropout: nn.Module | None = None
) -> Tensor:
    """`norm_act` by PyTorch's operations."""
    h = _modulated(norm(x), scale_shift, act)
    return h if dropout is None else dropout(h)


def is_compiled(
    x: Tensor, norm: nn.Module, scale_shift: Tensor | None = None, dropout: nn.Module | None = None
) -> bool:
    """Whether the kernel is used: on a CPU, channels-last, in float32 or bfloat16, where nothing traces or
    transforms it.  What PyTorch refuses or would broadcast is left to PyTorch.
    """
    return (
        library.is_plain(x)  # first, so that the rest is not traced
        and isinstance(norm, nn.GroupNorm)
        and isinstance(dropout, Dropout | None)
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.shape[1] == norm.num_channels
        and x.numel() > norm.num_groups  # not empty, and more than one value to normalise
        and norm.affine
        and norm.weight.dtype == norm.bias.dtype == torch.float32
        and (scale_shift is None or scale_shift.shape == (len(x), 2 * x.shape[1]))
        and (scale_shift is None or torch.promote_types(scale_shift.dtype, x.dtype) == x.dtype)
        and library.library() is not None
    )


def _modulated(h: Tensor, scale_shift: Tensor | None, act: bool) -> Tensor:
    if scale_shift is not None:
        scale, shift = scale_shift[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, h, 1 + scale)
    return F.silu(h) if act else h


class _NormAct(torch.autograd.Function):
    """The kernels of norm_act.cpp, with the gradients that they return in sums over pixels."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale_shift: Tensor | None,
        kept: Tensor | None,
        settings: tuple[int, float, bool, float],
    ) -> Tensor:
        groups, eps, act, factor = settings
        b, c, h, w = x.shape
        shape = b, h * w, c, groups
        y = torch.empty_like(x, memory_format=torch.channels_last)
        stats = torch.empty(b, groups, 2)
        scalars = _exact(weight), _exact(bias), _exact(scale_shift)
        half = x.dtype == torch.bfloat16
        library.run("norm_act_forward", half, x, shape, *scalars, eps, act, kept, factor, y, stats)
        ctx.save_for_backward(x, weight, bias, scale_shift, kept, stats)
        ctx.shape, ctx.settings = shape, settings
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the gradients will be differentiated: the kernel has no second derivatives
            return _differentiable_gradients(ctx, grads[0])
        x, weight, bias, scale_shift, kept, stats = ctx.saved_tensors
        _, _, act, factor = ctx.settings
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        scalars = weight, bias, condition = _exact(weight), _exact(bias), _exact(scale_shift)
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        sums = torch.empty(2, len(x), x.shape[1])  # over pixels: of dz, and of dz times the normalised x
        half = x.dtype == torch.bfloat16
        library.run("norm_act_backward", half, grad, x, ctx.shape, *scalars, act, kept, factor, stats, dx, sums)
        plain, times = sums
        if condition is None:
            return dx, times.sum(0), plain.sum(0), None, None, None
        scale = 1 + condition[:, : x.shape[1]]
        d_condition = torch.cat([times * weight + plain * bias, plain], dim=1).to(scale_shift.dtype)
        return dx, (times * scale).sum(0), (plain * scale).sum(0), d_condition, None, None


def _differentiable_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients by PyTorch's operations, in float32, as a graph that can be differentiated in its turn."""
    *given, kept, _ = ctx.saved_tensors
    groups, eps, act, factor = ctx.settings
    # As views, so that the gradient of x does not go through a scale_shift that was computed from x.
    views: list[Tensor] = [each.view_as(each) for each in given if each is not None]
    with torch.autocast("cpu", enabled=False):
        x, weight, bias, *condition = (view.float() for view in views)
        h = _modulated(F.group_norm(x, groups, weight, bias, eps), condition[0] if condition else None, act)
        y = (h if kept is None else Mask(kept, factor)(h)).to(grad.dtype)
    inputs = [view for view in views if view.requires_grad]
    found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
    gradients = [next(found) if view.requires_grad else None for view in views]
    return *gradients, *[None] * (6 - len(gradients))


def _exact(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.float().contiguous()


class Mask(NamedTuple):
    """Dropout mask of some images, and the factor of the kept values."""

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
