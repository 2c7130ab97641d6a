"""Noise schedules: how much of the image, alpha_bar, is left after each step.

A schedule takes the number of timesteps and keeps its shape whatever that number is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Interval, doc
from jaxtyping import Float64
from torch import Tensor

from gensweep.diffusion.process import karras_sigmas
from gensweep.registry import Registry

#: timesteps -> alpha_bar, strictly decreasing inside (0, 1), in float64.
Schedule = Callable[[int], Tensor]
SCHEDULES: Registry[Callable[..., Tensor]] = Registry("schedule", package="gensweep.diffusion")

#: Larger betas are cut to this: beta = 1 leaves nothing of the image.  Source: Nichol & Dhariwal 2021, section 3.2.
MAX_BETA = 0.999
#: Number of timesteps for which beta_start and beta_end of `linear` are given.
REFERENCE_TIMESTEPS = 1000
#: `linear` scales the betas of no fewer timesteps: larger betas would change the shape of the curve.
MIN_SCALED_TIMESTEPS = 100
#: `linear` scales betas up to this, for the same reason.
MAX_SCALED_BETA = 0.5


@SCHEDULES.register("linear")
def linear(
    timesteps: int,
    *,
    beta_start: Annotated[float, Interval(ge=1e-6, le=0.1), doc("first beta of 1000 timesteps")] = 1e-4,
    beta_end: Annotated[float, Interval(ge=1e-6, le=0.1), doc("last beta of 1000 timesteps")] = 0.02,
) -> Float64[Tensor, " t"]:
    """Betas that rise in a line between end points that are meant for 1000 timesteps.

    They are scaled by 1000 / timesteps, down to 100 timesteps (more if a beta would exceed 0.5).  Fewer timesteps read
    the curve of that shortest chain at even times, linearly in log alpha_bar, so that they end at the same alpha_bar.
    Source: Ho et al. 2020, section 4; Nichol & Dhariwal 2021, section 3.2 (scaling).
    """
    steepest = REFERENCE_TIMESTEPS * max(beta_start, beta_end)
    chain = max(timesteps, MIN_SCALED_TIMESTEPS, math.ceil(steepest / MAX_SCALED_BETA))
    scale = REFERENCE_TIMESTEPS / chain
    alpha_bar = _alpha_bar(torch.linspace(scale * beta_start, scale * beta_end, chain, dtype=torch.float64))
    if chain == timesteps:
        return alpha_bar
    log = torch.cat([torch.zeros(1, dtype=torch.float64), alpha_bar.log()])
    time = torch.arange(1, timesteps + 1, dtype=torch.float64) * chain / timesteps
    before = time.long().clamp(max=chain - 1)
    return torch.lerp(log[before], log[before + 1], time - before).exp()


@SCHEDULES.register("cosine")
def cosine(
    timesteps: int, *, s: Annotated[float, Interval(ge=0, le=1), doc("shift of the time")] = 0.008
) -> Float64[Tensor, " t"]:
    """Alpha_bar as a squared cosine of the time, shifted by s.

    f(u) = cos^2(pi/2 (u + s) / (1 + s)), betas at most 0.999.  Source: Nichol & Dhariwal 2021, eq. 17.
    """
    u = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    return _from_curve(torch.cos((u + s) / (1 + s) * math.pi / 2).square())


@SCHEDULES.register("sigmoid")
def sigmoid(
    timesteps: int,
    *,
    start: Annotated[float, Interval(ge=-6, le=0), doc("argument of the sigmoid at the image")] = -3.0,
    end: Annotated[float, Interval(ge=0.1, le=6), doc("argument of the sigmoid at the noise")] = 3.0,
    tau: Annotated[float, Interval(ge=0.3, le=3), doc("temperature: more makes the curve softer")] = 1.0,
) -> Float64[Tensor, " t"]:
    """Alpha_bar as a falling sigmoid of the time, which runs from start to end; tau softens it.

    f(u) = (S(end) - S(start + u (end - start))) / (S(end) - S(start)), S(v) = sigmoid(v / tau), betas at most 0.999.
    Source: Jabri et al. 2022; Chen 2023, section 2.
    """
    u = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    s = torch.sigmoid((start + u * (end - start)) / tau)
    return _from_curve((s[-1] - s) / (s[-1] - s[0]))


@SCHEDULES.register("karras")
def karras(
    timesteps: int,
    *,
    sigma_min: Annotated[float, Interval(ge=1e-4, le=1), doc("lowest noise level")] = 0.002,
    sigma_max: Annotated[float, Interval(gt=1, le=1000), doc("highest noise level")] = 80.0,
) -> Float64[Tensor, " t"]:
    """Noise levels from sigma_min to sigma_max, even in sigma^(1/7); alpha_bar = 1 / (1 + sigma^2).

    A single timestep has sigma_max.  Source: Karras et al. 2022, eq. 5.
    """
    return 1 / (1 + karras_sigmas(timesteps, sigma_min, sigma_max).flip(0).square())


def _from_curve(curve: Float64[Tensor, " times"]) -> Float64[Tensor, " t"]:
    """Alpha_bar from its curve at times 0, 1/T, ..., 1; betas are clipped, as the last would be 1."""
    return _alpha_bar((1 - curve[1:] / curve[:-1]).clamp(max=MAX_BETA))


def _alpha_bar(betas: Float64[Tensor, " t"]) -> Float64[Tensor, " t"]:
    return torch.cumprod(1 - betas, dim=0)
