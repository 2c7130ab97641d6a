"""Samplers that draw from the posterior of each step: ancestral sampling, and DDIM, which needs no noise."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Interval, doc
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.process import posterior
from gensweep.diffusion.samplers.sampler import SAMPLERS, Denoise, Levels, Start, Steps, transitions
from gensweep.errors import ParameterError
from gensweep.noise import Noise


@SAMPLERS.register("ancestral")
def ancestral(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    variance: Annotated[
        Literal["small", "large", "learned"] | None,
        doc(
            "of each step: the posterior's (small), beta (large), or between them as the network has learnt (learned); "
            "null: learned where there is something learnt, else small"
        ),
    ] = None,
) -> Float[Tensor, "b c h w"]:
    """Ancestral sampling: each step draws from q(x_{t-1} | x_t, x_0), with x_0 as predicted.

    Raises ConfigError for the variance `learned` with a network that has none.
    Source: Ho et al. 2020, algorithm 2 and section 3.2; Nichol & Dhariwal 2021, eq. 15 (learned).
    """
    sigmas = levels.sigmas(steps)
    x = start(sigmas[0])
    for now, after, stream in transitions(sigmas):
        x_0, fraction = denoise(x, now)
        if variance == "learned" and fraction is None:
            raise ParameterError(
                "variance", "'learned' needs a network that was trained with the loss hybrid or vlb; use small or large"
            )
        if not after:
            return x_0
        step = posterior(now, after)
        x = torch.lerp(x_0, x, step.keep)
        z = noise.normal(*x.shape[1:], stream=stream)
        if fraction is not None and variance in (None, "learned"):
            log_variance = math.log(step.small) + fraction * (math.log(step.large) - math.log(step.small))
            x = x + (0.5 * log_variance).exp() * z
        else:
            x = x + math.sqrt(step.large if variance == "large" else step.small) * z
    return x


@SAMPLERS.register("ddim")
def ddim(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    steps: Steps = None,
    eta: Annotated[
        float, Interval(ge=0, le=1), doc("new noise of each step, as a share of ancestral sampling's")
    ] = 0.0,
) -> Float[Tensor, "b c h w"]:
    """DDIM: deterministic at eta = 0, ancestral with the small variance at eta = 1.

    x' = x_0 + sqrt(sigma'^2 - s^2) eps + s z, with eps derived from the clipped x_0 and s = eta times the posterior's
    standard deviation.
    Source: Song et al. 2021, eq. 12 and 16, divided by sqrt(alpha_bar).
    """
    sigmas = levels.sigmas(steps)
    x = start(sigmas[0])
    for now, after, stream in transitions(sigmas):
        x_0 = denoise(x, now).x_0
        if not after:
            return x_0
        variance = eta**2 * posterior(now, after).small
        x = x_0 + math.sqrt(max(0.0, after**2 - variance)) / now * (x - x_0)
        if eta:
            x = x + math.sqrt(variance) * noise.normal(*x.shape[1:], stream=stream)
    return x
