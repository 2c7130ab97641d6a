"""Optimizers of the families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from annotated_types import Ge, Gt, Interval, doc
from torch import nn

Rate: TypeAlias = Annotated[float, Interval(gt=0, le=1)]
Beta1: TypeAlias = Annotated[float, Interval(ge=0, lt=1), doc("Adam's decay rate of the mean of gradients")]
Beta2: TypeAlias = Annotated[float, Interval(ge=0, lt=1), doc("Adam's decay rate of the mean of their squares")]
Warmup: TypeAlias = Annotated[int, Ge(0), doc("images over which learning rates rise in a line")]
Clip: TypeAlias = Annotated[
    Annotated[float, Gt(0)] | None, doc("norm to which a network's gradient is cut if it is longer; null: never")
]

#: Devices on which PyTorch has one fused kernel for an optimizer's step.
FUSED_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Adam:
    """Settings of an optimizer of one network; `warmup` is in images, `clip` the largest norm of a gradient."""

    learning_rate: float
    betas: tuple[float, float]
    warmup: int
    clip: float | None

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """A fresh one of those parameters that are trained, in PyTorch's fastest form for where they lie."""
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        fused = all(parameter.device.type in FUSED_DEVICES for parameter in parameters)
        foreach = None if fused else True
        return torch.optim.Adam(parameters, self.learning_rate, self.betas, fused=fused, foreach=foreach)


def adam(
    *,
    learning_rate: Annotated[Rate, doc("Adam's step size, after the warm-up")] = 2e-4,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    warmup: Warmup = 10_000,
    clip: Clip = 1.0,
) -> Adam:
    """Adam, with a warm-up and clipped gradients.  Source: Kingma & Ba 2015."""
    return Adam(learning_rate, (beta1, beta2), warmup, clip)
