"""Frames between two images: encode each to its noise, mix the noises, and sample from the mixtures.

Images are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import Denoise, Levels, Sampler, Spacing
from gensweep.errors import ConfigError
from gensweep.noise import Noise

#: Smallest number of levels for encoding, unless the process has fewer.
MIN_ENCODING_LEVELS = 100


def encoding_levels(levels: Levels, sampler: Sampler) -> list[float]:
    """Levels for encoding: those of a deterministic sampler, or more of the process if they are few.

    A few steps down may be exact, as a network can know the mean slope over a step (mean velocities); encoding only
    knows the slopes at its levels.  Raises ConfigError if the sampler adds noise.
    """
    sigmas, every = deterministic_levels(levels, sampler), levels.sigmas(None)
    few = levels.sigmas(MIN_ENCODING_LEVELS) if len(every) > MIN_ENCODING_LEVELS else every
    return sigmas if len(sigmas) > MIN_ENCODING_LEVELS else few


def deterministic_levels(levels: Levels, sampler: Sampler) -> list[float]:
    """Levels that a deterministic sampler visits, falling, with 0 at the end; runs no network.

    Raises ConfigError if the sampler adds noise.
    """
    recorded: list[float] = []

    class Recording:
        def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
            recorded[:] = levels.sigmas(steps, spacing)
            return list(recorded)

    sampler(Recording(), lambda x, *_: x, lambda _: torch.zeros(1, 1, 1, 1), _Silent(0, torch.arange(1)))
    return recorded


def encode(sigmas: Sequence[float], denoise: Denoise, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Noisy images at level sigmas[0], from which a deterministic sampler leads to these images.

    Heun's method along dx/dsigma = (x - x_0) / sigma, upwards through `sigmas`, which fall and end with 0.  It is of
    second order, so the sampler's error dominates.  The first step, away from 0, undoes a sampler's last: x = 2 image -
    x_0(image).  With n levels above 0 it evaluates 2 n - 1 times.  Source: Song et al. 2021 (DDIM), section 4.3 and
    appendix C; Karras et al. 2022, eq. 1.
    """
    rising = list(sigmas[-2::-1])
    x = 2 * images - denoise(images, rising[0])
    for now, after in pairwise(rising):
        slope = (x - denoise(x, now)) / now
        ahead = x + (after - now) * slope
        slope_ahead = (ahead - denoise(ahead, after)) / after
        x = x + (after - now) / 2 * (slope + slope_ahead)
    return x


def decode(
    levels: Levels, sampler: Sampler, denoise: Denoise, codes: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n c h w"]:
    """Images that a deterministic sampler makes from noisy ones at its highest level.

    Raises ConfigError if the sampler adds noise.
    """
    return sampler(levels, denoise, lambda _: codes, _Silent(0, torch.arange(len(codes), device=codes.device)))


def slerp(a: Float[Tensor, "c h w"], b: Float[Tensor, "c h w"], t: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """From a (t = 0) to b (t = 1) along a great circle, which keeps the norm of noise.

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, with w the angle between them; a straight line if w is 0.
    Source: Shoemake 1985.
    """
    cosine = torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0)
    angle = torch.arccos(cosine.clamp(-1, 1))
    t = t.double().view(-1, 1, 1, 1)
    if angle.sin() < 1e-6:
        return torch.lerp(a.double(), b.double(), t).to(a.dtype)
    return (((1 - t) * angle).sin() / angle.sin() * a + (t * angle).sin() / angle.sin() * b).to(a.dtype)


class _Silent(Noise):
    """Noise that raises ConfigError when used."""

    def normal(self, *shape: int, stream: int) -> NoReturn:
        raise ConfigError(
            "sampler: interpolation needs a deterministic sampler, and this one adds "
            "noise; set sampler.kind to euler or dpmpp_2m, or to ddim with sampler.eta 0, or to heun with "
            "sampler.churn 0"
        )
