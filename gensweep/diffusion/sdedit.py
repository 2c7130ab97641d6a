"""SDEdit: generation that starts from an image, with any sampler.

To start from an image, begin at a lower noise level.  To keep a part of the image, give the denoiser the true value of
that part.  Images are in [-1, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import START_STREAM, Denoise, Levels, Sampler, Spacing, from_noise
from gensweep.noise import Noise

#: The shortest step from the level of an image, as a share of the sampler's own step there, in ln sigma.
MIN_FIRST_STEP = 0.25


def edit(
    levels: Levels,
    sampler: Sampler,
    denoise: Denoise,
    noise: Noise,
    image: Float[Tensor, "c h w"],
    *,
    strength: float,
    redraw: Bool[Tensor, "h w"] | None = None,
) -> Float[Tensor, "n c h w"]:
    """A variation of the image for each sample of the noise: noised to a level, then sampled from there.

    `strength` in [0, 1] sets the level, see `level_at`: 0 returns the image, and 1 starts from noise alone.  Where
    `redraw` is False, pixels stay the same, and the other pixels adapt to them.  The sampler visits its lower levels,
    about strength times its steps.  Source: Meng et al. 2022 (SDEdit), algorithm 1 and, with a mask, 2.
    """
    kept = image.expand(len(noise.samples), *image.shape)
    if strength == 0:
        return kept.clone()
    eps = noise.normal(*image.shape, stream=START_STREAM)

    def start(sigma: float) -> Tensor:
        covered = kept + sigma * eps
        if strength < 1:
            return covered
        pure = from_noise(eps)(sigma)
        return pure if redraw is None else torch.where(redraw, pure, covered)

    below = Below(levels, level_at(levels, strength))
    if redraw is None:
        return sampler(below, denoise, start, noise)

    def denoise_the_rest(x: Tensor, *levels: float) -> Tensor:
        # Kept pixels begin with noise like the others.  With their true x_0 the sampler takes them down along
        # q(x_{t-1} | x_t, x_0), so that the network always sees them at the level at which it sees the others.
        return torch.where(redraw, denoise(x, *levels), kept)

    return torch.where(redraw, sampler(below, denoise_the_rest, start, noise), kept)


def level_at(levels: Levels, strength: float) -> float:
    """The noise level after a share of the process's steps: 0 at strength 0, the highest level at 1.

    It is the nearest of the levels that the process has, but not 0 for a strength above 0.
    """
    sigmas = levels.sigmas(None)
    steps = len(sigmas) - 1
    return sigmas[steps - max(round(strength * steps), math.ceil(strength))]


@dataclass(frozen=True)
class Below:
    """The levels of a process from `top` down; `top` itself comes first, wherever it lies."""

    levels: Levels
    top: float

    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        """`top`, and the sampler's levels below it: fewer than `steps`, unless top is the highest of them.

        A level to which the step from top would be too short (MIN_FIRST_STEP) is left out.
        """
        grid = self.levels.sigmas(steps, spacing)
        # A difference from top by rounding is not a separate level.
        below = [sigma for sigma in grid if sigma < self.top * (1 - 1e-6)]
        above, next_one = grid[: -len(below)], below[0]
        # dpmpp_2m multiplies the difference of two predictions by the ratio of two steps.  After a tiny first step the
        # difference is rounding, and the ratio may be in the thousands.  This is fixed here, as the sampler's own
        # levels have no tiny steps.
        if above and next_one and math.log(self.top / next_one) < MIN_FIRST_STEP * math.log(above[-1] / next_one):
            below = below[1:]
        return [self.top, *below]
