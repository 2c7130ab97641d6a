"""Samplers: ancestral sampling, DDIM, and methods that solve the probability flow, dx/dsigma = (x - x_0) / sigma."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval, doc
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.process import posterior
from gensweep.diffusion.samplers.sampler import (
    SAMPLERS,
    WHERE_LEVELS_LIE,
    Denoise,
    Levels,
    Spacing,
    Start,
    Steps,
    transitions,
)
from gensweep.noise import Noise

#: The largest gamma_i of Heun's method: (1 + gamma_i)^2 <= 2, so at most half of the noise is new.
#: Source: Karras et al. 2022, algorithm 2.
MAX_CHURN = math.sqrt(2) - 1


@SAMPLERS.register("ancestral")
def ancestral(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    variance: Annotated[
        Literal["small", "large"], doc("of each step: the posterior's (small) or beta (large)")
    ] = "small",
) -> Float[Tensor, "b c h w"]:
    """Ancestral sampling: each step draws from q(x_{t-1} | x_t, x_0), with x_0 as predicted.

    Source: Ho et al. 2020, algorithm 2 and section 3.2.
    """
    sigmas = levels.sigmas(steps)
    x = start(sigmas[0])
    for now, after, stream in transitions(sigmas):
        x_0 = denoise(x, now)
        if not after:
            return x_0
        step = posterior(now, after)
        x = torch.lerp(x_0, x, step.keep)
        std = math.sqrt(step.large if variance == "large" else step.small)
        x = x + std * noise.normal(*x.shape[1:], stream=stream)
    return x


@SAMPLERS.register("ddim")
def ddim(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    eta: Annotated[float, Interval(ge=0, le=1), doc("new noise per step, as a share of ancestral sampling's")] = 0.0,
) -> Float[Tensor, "b c h w"]:
    """DDIM: deterministic at eta = 0, ancestral with the small variance at eta = 1.

    x' = x_0 + sqrt(sigma'^2 - s^2) eps + s z, with eps derived from the clipped x_0 and s = eta times the posterior's
    standard deviation.
    Source: Song et al. 2021, eq. 12 and 16, divided by sqrt(alpha_bar).
    """
    sigmas = levels.sigmas(steps)
    x = start(sigmas[0])
    for now, after, stream in transitions(sigmas):
        x_0 = denoise(x, now)
        if not after:
            return x_0
        variance = eta**2 * posterior(now, after).small
        x = x_0 + math.sqrt(max(0.0, after**2 - variance)) / now * (x - x_0)
        if eta:
            x = x + math.sqrt(variance) * noise.normal(*x.shape[1:], stream=stream)
    return x


@SAMPLERS.register("dpmpp_2m")
def dpmpp_2m(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    spacing: Annotated[Spacing, WHERE_LEVELS_LIE] = "log_snr",
) -> Float[Tensor, "b c h w"]:
    """DPM-Solver++(2M), of second order at one evaluation a step: x_0 is extrapolated from this step and the last.

    With lambda = -ln sigma, h = lambda' - lambda and r = h_old / h: D = (1 + 1/(2r)) x_0 - 1/(2r) x_0_old, and
    x' = (sigma' / sigma) x - expm1(-h) D.  The first step and the one to 0 are of first order, D = x_0.  In the step to
    the lowest level, which on levels even in time is several times as long as the one before, r is at least 1: to
    extrapolate further than that makes images too wide.
    Source: Lu et al. 2022 (DPM-Solver++), algorithm 2, without that bound.
    """
    sigmas = levels.sigmas(steps, spacing)
    x = start(sigmas[0])
    old, h_old = None, 0.0
    for now, after in pairwise(sigmas):
        x_0 = denoise(x, now)
        D = x_0
        if after:
            h = math.log(now / after)
            if old is not None:
                ratio = h / h_old if after > sigmas[-2] else min(h / h_old, 1.0)
                D = torch.lerp(old, x_0, 1 + ratio / 2)
            old, h_old = x_0, h
        x = torch.lerp(D, x, after / now)
    return x


@SAMPLERS.register("euler")
def euler(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    spacing: Annotated[Spacing, WHERE_LEVELS_LIE] = "time",
) -> Float[Tensor, "b c h w"]:
    """Euler's method for dx/dsigma = (x - x_0) / sigma, of first order: DDIM at eta = 0, on levels of one's choice.

    x' = x + (sigma' - sigma) (x - x_0) / sigma = x_0 + (sigma' / sigma) (x - x_0), at one evaluation a step.
    Steps are exact for a model that knows the mean slope over each step, as the family meanflow does.
    Source: Karras et al. 2022, eq. 1 and 4, with sigma(t) = t.
    """
    sigmas = levels.sigmas(steps, spacing)
    x = start(sigmas[0])
    for now, after in pairwise(sigmas):
        x = torch.lerp(denoise(x, now, after), x, after / now)
    return x


@SAMPLERS.register("heun")
def heun(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    spacing: Annotated[Spacing, WHERE_LEVELS_LIE] = "log_snr",
    churn: Annotated[float, Interval(ge=0, le=1000), doc("amount of new noise over all steps, S_churn; 0: none")] = 0.0,
    churn_min: Annotated[float, Ge(0), doc("lowest noise level with new noise, S_min")] = 0.0,
    churn_max: Annotated[
        Annotated[float, Gt(0)] | None, doc("highest noise level with new noise, S_max; null: no bound")
    ] = None,
    churn_noise: Annotated[float, Interval(ge=0.5, le=1.5), doc("standard deviation of the new noise, S_noise")] = 1.0,
) -> Float[Tensor, "b c h w"]:
    """Heun's method, of second order, as in EDM: two evaluations a step and one in the last, 2 steps - 1 in all.

    Levels in [churn_min, churn_max] are first raised by a factor of 1 + churn / steps, at most sqrt(2), with new noise;
    never above the level that sampling began with.  Without churn the sampler is deterministic.
    Source: Karras et al. 2022, algorithm 2, in the equivalent form x' = x + (sigma' - sigma) (d + d') / 2.
    """
    sigmas = levels.sigmas(steps, spacing)
    x = start(sigmas[0])
    rise = 1 + min(churn / (len(sigmas) - 1), MAX_CHURN)
    for now, after, stream in transitions(sigmas):
        if churn and churn_min <= now <= (math.inf if churn_max is None else churn_max):
            raised = min(rise * now, sigmas[0])
            fresh = churn_noise * math.sqrt(raised**2 - now**2)
            x = x + fresh * noise.normal(*x.shape[1:], stream=stream)
            now = raised
        x_0 = denoise(x, now)
        x = torch.lerp(x_0, x, after / now)
        if after:
            # The correction to Euler's step, in the change of x_0: this avoids a difference of large numbers.
            x = x + (now / after - 1) / 2 * (denoise(x, after) - x_0)
    return x


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
        x_0 = denoise(x, now)
        x = torch.lerp(x_0, x, after / now)
        if after:
            # The correction to Euler's step, (t' - t) (v' - v) / 2, in the change of x_0 and in units of x.
            factor = (1 + after) / (1 + now) * (now / after - 1) / 2
            x = x + factor * (denoise(x, after) - x_0)
    return x
