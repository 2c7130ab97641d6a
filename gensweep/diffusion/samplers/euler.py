"""Euler's method along the probability flow."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import SAMPLERS, Denoise, Levels, Spacing, Start, Steps
from gensweep.noise import Noise

__all__ = ["euler"]


@SAMPLERS.register("euler")
def euler(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    spacing: Spacing = "time",
) -> Float[Tensor, "b c h w"]:
    """Euler's method for dx/dsigma = (x - x_0) / sigma, of first order: DDIM at eta = 0, on levels of one's choice.

    x' = x + (sigma' - sigma) (x - x_0) / sigma = x_0 + (sigma' / sigma) (x - x_0), at one evaluation a step.  `steps`
    levels are visited as `spacing` says; None visits all levels of the process.
    Source: Karras et al. 2022, eq. 1 and 4, with sigma(t) = t.
    """
    sigmas = levels.sigmas(steps, spacing)
    x = start(sigmas[0])
    for now, after in pairwise(sigmas):
        x = torch.lerp(denoise(x, now).x_0, x, after / now)
    return x
