"""The sampler of the first denoising diffusion models."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.process import posterior
from gensweep.diffusion.samplers.sampler import FIRST_STEP_STREAM, SAMPLERS, Denoise, Levels, Start, Steps
from gensweep.errors import ParameterError
from gensweep.noise import Noise

__all__ = ["ancestral"]


@SAMPLERS.register("ancestral")
def ancestral(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    variance: Literal["small", "large", "learned"] | None = None,
) -> Float[Tensor, "b c h w"]:
    """Ancestral sampling: each step draws from q(x_{t-1} | x_t, x_0), with x_0 as predicted.

    The variance is that of the posterior (small), beta (large), or between the two as the network has learnt
    (learned); None is learned where there is something learnt, else small.  `steps` of the timesteps are visited, all
    if None.  Raises ConfigError for `learned` with a network that has no variance.
    Source: Ho et al. 2020, algorithm 2 and section 3.2; Nichol & Dhariwal 2021, eq. 15 (learned).
    """
    sigmas = levels.sigmas(steps)
    x = start(sigmas[0])
    left = len(sigmas) - 1
    for now, after in pairwise(sigmas):
        left -= 1
        x_0, fraction = denoise(x, now)
        if variance == "learned" and fraction is None:
            raise ParameterError(
                "variance", "'learned' needs a network that was trained with the loss hybrid or vlb; use small or large"
            )
        if not after:
            return x_0
        step = posterior(now, after)
        x = torch.lerp(x_0, x, step.keep)
        z = noise.normal(*x.shape[1:], stream=FIRST_STEP_STREAM + left)
        if fraction is not None and variance in (None, "learned"):
            log_variance = math.log(step.small) + fraction * (math.log(step.large) - math.log(step.small))
            x = x + (0.5 * log_variance).exp() * z
        else:
            x = x + math.sqrt(step.large if variance == "large" else step.small) * z
    return x
