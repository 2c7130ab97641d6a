"""Heun's method along straight paths, z = (1 - t) x_0 + t eps with t = sigma / (1 + sigma).

The flow is dz/dt = (z - x_0) / t = eps - x_0.  Its solutions are those of the flow in x = z / (1 - t) and sigma, but
steps of z stay small however high a level is.  Euler's method is the same in both, and is not here.
Source: Lipman et al. 2023; Liu et al. 2023.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import SAMPLERS, WHERE_LEVELS_LIE, Denoise, Levels, Spacing, Start, Steps
from gensweep.noise import Noise


@SAMPLERS.register("straight_heun")
def straight_heun(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    spacing: Annotated[Spacing, WHERE_LEVELS_LIE] = "time",
) -> Float[Tensor, "b c h w"]:
    """Heun's method for dz/dt = eps - x_0, of second order: two evaluations a step and one in the last.

    With v and v' the velocities at both ends, z' = z + (t' - t) (v + v') / 2.
    Source: Lipman et al. 2023; Karras et al. 2022, algorithm 2 (the last step).
    """
    sigmas = levels.sigmas(steps, spacing)
    x = start(sigmas[0])
    for now, after in pairwise(sigmas):
        x_0 = denoise(x, now).x_0
        x = torch.lerp(x_0, x, after / now)
        if after:
            # The correction to Euler's step, (t' - t) (v' - v) / 2, in the change of x_0 and in units of x.
            factor = (1 + after) / (1 + now) * (now / after - 1) / 2
            x = x + factor * (denoise(x, after).x_0 - x_0)
    return x
