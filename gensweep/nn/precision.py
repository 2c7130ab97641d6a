"""Floating-point precision of networks, and layers that stay in float32."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gensweep.kernels import winograd
from gensweep.nn.layers import SameConv2d

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
MemoryFormat: TypeAlias = Literal["auto", "channels_last", "contiguous"]


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Meaning of a precision; "auto" is bfloat16 on a GPU or AMX with units for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def mixed_precision(precision: Precision, device: torch.device) -> torch.autocast:
    """Autocast to bfloat16, or a context that changes nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(precision, device))


def rounded(network: nn.Module) -> dict[str, Tensor]:
    """The weights of convolutions and linear layers in bfloat16, by name, for `functional_call` under autocast.

    Autocast would round them anyway, but at every call.  Left out are weights of a `last` layer (see `in_full`), of
    other kinds of layers, which may use them before rounding, and weights that a kernel needs unrounded.
    """
    on_cpu = all(weight.device.type == "cpu" for weight in network.parameters())
    kinds = nn.Conv2d, nn.Linear, *([] if on_cpu and winograd.takes_bfloat16() else [SameConv2d])
    exact = {id(w) for module in network.modules() for w in getattr(module, "last", nn.Identity()).parameters()}
    return {
        f"{prefix}.{name}" if prefix else name: weight.detach().to(torch.bfloat16)
        for prefix, module in network.named_modules()
        if type(module) in kinds
        for name, weight in module.named_parameters(recurse=False)
        if id(weight) not in exact
    }


def in_full(layer: nn.Module, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
    """The last layer of a denoiser: in float32, whatever autocast says, where it draws samples.

    It costs next to nothing, and half of the visible rounding errors in an image are its own.
    """
    if layer.training:
        return layer(x)  # type: ignore[no-any-return]
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())  # type: ignore[no-any-return]
