"""Heun's method along the probability flow, with optional churn."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import FIRST_STEP_STREAM, SAMPLERS, Denoise, Levels, Spacing, Start, Steps
from gensweep.noise import Noise

__all__ = ["heun"]

#: The largest gamma_i: (1 + gamma_i)^2 <= 2, so at most half of the noise is new.  Source: Karras et al. 2022, alg. 2.
MAX_CHURN = math.sqrt(2) - 1


@SAMPLERS.register("heun")
def heun(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    spacing: Spacing = "log_snr",
    churn: Annotated[float, Interval(ge=0, le=1000)] = 0.0,
    churn_min: Annotated[float, Ge(0)] = 0.0,
    churn_max: Annotated[float, Gt(0)] | None = None,
    churn_noise: Annotated[float, Interval(ge=0.5, le=1.5)] = 1.0,
) -> Float[Tensor, "b c h w"]:
    """Heun's method, of second order, as in EDM: two evaluations a step and one in the last, 2 steps - 1 in all.

    Of `steps` levels, visited as `spacing` says (None: all levels of the process), those in [churn_min, churn_max]
    are first raised by a factor of 1 + churn / steps, at most sqrt(2), with new noise of standard deviation
    churn_noise; never above the level that sampling began with.  These are S_churn, S_min, S_max (None: no bound) and
    S_noise; without churn the sampler is deterministic.
    Source: Karras et al. 2022, algorithm 2, where x' = x + (sigma' - sigma) (d + d') / 2 is what is computed here.
    """
    sigmas = levels.sigmas(steps, spacing)
    x = start(sigmas[0])
    left = len(sigmas) - 1
    rise = 1 + min(churn / left, MAX_CHURN)
    for now, after in pairwise(sigmas):
        left -= 1
        if churn and churn_min <= now <= (math.inf if churn_max is None else churn_max):
            raised = min(rise * now, sigmas[0])
            fresh = churn_noise * math.sqrt(raised**2 - now**2)
            x = x + fresh * noise.normal(*x.shape[1:], stream=FIRST_STEP_STREAM + left)
            now = raised
        x_0 = denoise(x, now).x_0
        x = torch.lerp(x_0, x, after / now)
        if after:
            # The correction to Euler's step, in the change of x_0: this avoids a difference of large numbers.
            x = x + (now / after - 1) / 2 * (denoise(x, after).x_0 - x_0)
    return x
