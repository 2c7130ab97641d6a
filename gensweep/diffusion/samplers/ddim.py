"""Denoising diffusion implicit models."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.process import posterior
from gensweep.diffusion.samplers.sampler import FIRST_STEP_STREAM, SAMPLERS, Denoise, Levels, Start, Steps
from gensweep.noise import Noise

__all__ = ["ddim"]


@SAMPLERS.register("ddim")
def ddim(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    eta: Annotated[float, Interval(ge=0, le=1)] = 0.0,
) -> Float[Tensor, "b c h w"]:
    """DDIM: deterministic at eta = 0, ancestral with the small variance at eta = 1.

    x' = x_0 + sqrt(sigma'^2 - s^2) eps + s z, with eps derived from the clipped x_0 and s = eta times the posterior's
    standard deviation.  `steps` of the timesteps are visited, all if None.
    Source: Song et al. 2021, eq. 12 and 16, divided by sqrt(alpha_bar).
    """
    sigmas = levels.sigmas(steps)
    x = start(sigmas[0])
    left = len(sigmas) - 1
    for now, after in pairwise(sigmas):
        left -= 1
        x_0 = denoise(x, now).x_0
        if not after:
            return x_0
        variance = eta**2 * posterior(now, after).small
        x = x_0 + math.sqrt(max(0.0, after**2 - variance)) / now * (x - x_0)
        if eta:
            x = x + math.sqrt(variance) * noise.normal(*x.shape[1:], stream=FIRST_STEP_STREAM + left)
    return x
