"""Samplers that solve the probability flow along straight paths, z = (1 - t) x_0 + t eps with t = sigma / (1 + sigma).

The flow is dz/dt = (z - x_0) / t = eps - x_0.  Its solutions are those of the flow in x = z / (1 - t) and sigma, but
steps of z stay small however high a level is.  Euler's method is the same in both, and is not here.
Source: Lipman et al. 2023; Liu et al. 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Interval, doc
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import SAMPLERS, WHERE_LEVELS_LIE, Denoise, Levels, Spacing, Start, Steps
from gensweep.noise import Noise

#: Of Dormand and Prince's method: where in a step each slope is taken, which earlier slopes lead there (the last row
#: is the solution of order 5), and the weights of its difference to the solution of order 4.
#: Source: Dormand & Prince 1980, table 2.
NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES: tuple[tuple[float, ...], ...] = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
#: The share of the way that is tried first, and the shortest step, which is taken whatever its error is.
FIRST_SHARE, SHORTEST_STEP = 0.1, 2.0**-12
#: A step is this part of what its error asks for, and changes by these factors at most.
#: Source: Hairer, Norsett & Wanner 1993, section II.4.
SAFETY, LEAST_FACTOR, MOST_FACTOR = 0.9, 0.2, 5.0

#: Where an adaptive sampler begins at most: t is told from 1 by single precision, and images are all noise far below.
HIGHEST_SIGMA = 1e6

#: (z, t: Float[b 1 1 1]) -> dz/dt
Slope = Callable[[Tensor, Tensor], Tensor]


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


@SAMPLERS.register("dopri5")
def dopri5(
    levels: Levels,
    denoise: Denoise,
    start: Start,
    noise: Noise,
    *,
    tolerance: Annotated[float, Interval(ge=1e-7, le=0.1), doc("largest error of a step, relative to 1 + |z|")] = 1e-3,
) -> Float[Tensor, "b c h w"]:
    """Dormand and Prince's method of order 5(4) for dz/dt = eps - x_0, with steps as long as the error allows.

    Each image has steps of its own, so that it does not depend on those drawn with it.  A step is taken if the root
    mean square over the pixels of error / (1 + |z|) is at most `tolerance`.  It begins at the highest level of the
    process, or at HIGHEST_SIGMA if that is lower, and the last step goes from the lowest to 0 at once.
    Source: Dormand & Prince 1980; Lipman et al. 2023, section 6 (dopri5).
    """
    sigmas = levels.sigmas(None)
    high, low = min(sigmas[0], HIGHEST_SIGMA), sigmas[-2]
    z, end = start(high) / (1 + high), low / (1 + low)

    def slope(z: Tensor, t: Tensor) -> Tensor:
        sigma = t / (1 - t)
        return (z - denoise(z * (1 + sigma), sigma).x_0) / t

    t = z.new_full((len(z), 1, 1, 1), high / (1 + high))
    length, first = FIRST_SHARE * (t - end), slope(z, t)
    while bool((t > end).any()):
        left = t - end
        length = length.minimum(left)
        candidate, error, last = dormand_prince_step(slope, z, t, -length, first)
        scale = tolerance * (1 + z.abs().maximum(candidate.abs()))
        share = (error / scale).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        # What is not finite ends as it does with any sampler.
        taken = (t > end) & ~((share > 1) & (length > SHORTEST_STEP))
        z, first = torch.where(taken, candidate, z), torch.where(taken, last, first)
        t = torch.where(taken, torch.where(length == left, end, t - length), t)
        factor = SAFETY * share.clamp(min=1e-10) ** (-1 / 5)
        length = (length * factor.nan_to_num(MOST_FACTOR).clamp(LEAST_FACTOR, MOST_FACTOR)).clamp(min=SHORTEST_STEP)
    return denoise(z * (1 + low), low).x_0


def dormand_prince_step(
    slope: Slope,
    z: Float[Tensor, "b c h w"],
    t: Float[Tensor, "b 1 1 1"],
    length: Float[Tensor, "b 1 1 1"],
    first: Float[Tensor, "b c h w"],
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """The solution of order 5 after a step, its difference to that of order 4, and the slope there.

    `first` is the slope at the beginning; that at the end is the first of the next step.
    """
    slopes = [first]
    for node, weights in zip(NODES[1:], STAGES, strict=True):
        reached = z + length * _mixture(weights, slopes)
        slopes.append(slope(reached, t + node * length))
    return reached, length * _mixture(ERROR, slopes), slopes[-1]


def _mixture(weights: Sequence[float], slopes: Sequence[Tensor]) -> Float[Tensor, "b c h w"]:
    return torch.stack([weight * each for weight, each in zip(weights, slopes, strict=True)]).sum(dim=0)
