"""Networks compiled by torch.compile for the training step."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

import torch
from torch import nn

#: "none" leaves networks as they are; the others are modes of torch.compile, "reduce-overhead" with CUDA graphs.
Compilation: TypeAlias = Literal["none", "default", "reduce-overhead"]


def compiled(network: nn.Module, compilation: Compilation, *, backend: str = "inductor") -> nn.Module:
    """What the training step calls in the place of a network, whose weights it shares; itself for "none".

    The network itself stays as it is, with the names of its weights, for whatever draws samples, counts or saves.  Each
    shape is compiled for itself, as a training has one or two.
    """
    if compilation == "none":
        return network
    return cast(nn.Module, torch.compile(network, backend=backend, mode=compilation, dynamic=False))


def begin_step() -> None:
    """Tell CUDA graphs that what compiled networks gave in the step before is not needed any more."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
