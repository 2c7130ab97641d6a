"""DPM-Solver++: the probability flow, solved in the logarithm of the level."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import SAMPLERS, Denoise, Levels, Spacing, Start, Steps
from gensweep.noise import Noise

__all__ = ["dpmpp_2m"]


@SAMPLERS.register("dpmpp_2m")
def dpmpp_2m(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    spacing: Spacing = "log_snr",
) -> Float[Tensor, "b c h w"]:
    """DPM-Solver++(2M), of second order at one evaluation a step: x_0 is extrapolated from this step and the last.

    With lambda = -ln sigma, h = lambda' - lambda and r = h_old / h: D = (1 + 1/(2r)) x_0 - 1/(2r) x_0_old, and
    x' = (sigma' / sigma) x - expm1(-h) D.  The first step and the one to 0 are of first order, D = x_0.  In the step to
    the lowest level, which on levels even in time is several times as long as the one before, r is at least 1: to
    extrapolate further than was seen makes images too wide.  `steps` levels are visited as `spacing` says; None visits
    all levels of the process.
    Source: Lu et al. 2022 (DPM-Solver++), algorithm 2, without that bound.
    """
    sigmas = levels.sigmas(steps, spacing)
    x = start(sigmas[0])
    old, h_old = None, 0.0
    for now, after in pairwise(sigmas):
        x_0 = denoise(x, now).x_0
        seen = x_0
        if after:
            h = math.log(now / after)
            if old is not None:
                further = h / h_old if after > sigmas[-2] else min(h / h_old, 1.0)
                seen = torch.lerp(old, x_0, 1 + further / 2)
            old, h_old = x_0, h
        x = torch.lerp(seen, x, after / now)
    return x
