"""Optimizers of the families."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import torch
from annotated_types import Ge, Gt, Interval, doc
from torch import nn

Rate: TypeAlias = Annotated[float, Interval(gt=0, le=1)]
Beta1: TypeAlias = Annotated[float, Interval(ge=0, lt=1), doc("Adam's decay rate of the mean of gradients")]
Beta2: TypeAlias = Annotated[float, Interval(ge=0, lt=1), doc("Adam's decay rate of the mean of their squares")]
Warmup: TypeAlias = Annotated[int, Ge(0), doc("images over which learning rates rise linearly")]
Clip: TypeAlias = Annotated[
    Annotated[float, Gt(0)] | None, doc("largest norm of a network's gradient; null: no clipping")
]

#: Devices with one fused kernel for an optimizer step in PyTorch.
FUSED_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class RateSchedule:
    """Factor of learning rates by images seen: rises linearly over `warmup` images to 1.

    From `decay` images on it falls as the inverse root of their number; None: never.
    Source: Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models".
    """

    warmup: int
    decay: int | None = None

    def __call__(self, images: int) -> float:
        """Factor after this number of images."""
        risen = min(1.0, images / self.warmup) if self.warmup else 1.0
        return risen if self.decay is None else risen / math.sqrt(max(1.0, images / self.decay))


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam, with a warm-up, a decay and clipped gradients.  Source: Kingma & Ba 2015; Karras et al. 2024 (decay)."""

    learning_rate: Annotated[Rate, doc("Adam's step size, after the warm-up")] = 2e-4
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.999
    warmup: Warmup = 10_000
    decay: Annotated[
        Annotated[int, Ge(1)] | None,
        doc("images from which the learning rate falls as the inverse root of those seen; null: never"),
    ] = None
    clip: Clip = 1.0

    @property
    def rate_schedule(self) -> RateSchedule:
        """The factor of the learning rate by images seen."""
        return RateSchedule(self.warmup, self.decay)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """A new optimizer of the trainable parameters, in PyTorch's fastest form for their device."""
        groups = parameter_groups(network, self.learning_rate)
        fused = all(each.device.type in FUSED_DEVICES for group in groups for each in group["params"])
        return torch.optim.Adam(groups, betas=(self.beta1, self.beta2), fused=fused, foreach=None if fused else True)


def parameter_groups(network: nn.Module, rate: float) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by learning rate: `rate` times their `rate_factor`, if they have one."""
    groups = defaultdict[float, list[nn.Parameter]](list)
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups[rate * getattr(parameter, "rate_factor", 1.0)].append(parameter)
    return [{"params": parameters, "lr": each} for each, parameters in groups.items()]
