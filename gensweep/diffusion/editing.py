"""Generation that begins with an image, for every sampler: none of them knows.

A sampler meets the world in its levels, its start and its denoiser.  To begin with an image is to lower the highest
level and to start there (SDEdit); to keep a part of it is to tell the denoiser what that part looks like; and to go
between two images is to start with a mixture of the noise that each of them comes from.  Images are in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import START, Denoise, Denoised, Levels, Sampler, Spacing, Start, from_noise
from gensweep.errors import ConfigError
from gensweep.noise import Noise

__all__ = ["Below", "decode", "edit", "encode", "keeping", "level_at", "slerp", "visited"]


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
    """A version of the image for each sample of the noise: noised up to a level, then sampled from there.

    `strength` in [0, 1] says how high, see `level_at`: 0 gives the image back, and 1 begins with nothing but noise, as
    if there were no image.  Where `redraw` is False, pixels come out as they went in, and what is drawn elsewhere sees
    them all the way.  The sampler visits those of its levels that are lower, about strength times its steps.
    Source: Meng et al. 2022 (SDEdit), algorithm 1 and, with a mask, 2.
    """
    kept = image.expand(len(noise.samples), *image.shape)
    if strength == 0:
        return kept.clone()
    start = from_image(kept, noise.normal(*image.shape, stream=START), forget=strength == 1, redraw=redraw)
    if redraw is not None:
        denoise = keeping(denoise, kept, redraw)
    x = sampler(Below(levels, level_at(levels, strength)), denoise, start, noise)
    return x if redraw is None else torch.where(redraw, x, kept)


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
        """`top`, and those of the levels that are below it: fewer than `steps`, unless top is the highest of them."""
        # What differs from top by rounding alone is no level of its own.
        return [self.top, *(sigma for sigma in self.levels.sigmas(steps, spacing) if sigma < self.top * (1 - 1e-6))]


def from_image(
    image: Float[Tensor, "b c h w"],
    eps: Float[Tensor, "b c h w"],
    *,
    forget: bool = False,
    redraw: Bool[Tensor, "h w"] | None = None,
) -> Start:
    """Begin with an image under noise; `forget` begins with noise alone, but for the pixels that are not redrawn."""

    def start(sigma: float) -> Tensor:
        covered = image + sigma * eps
        if not forget:
            return covered
        noise = from_noise(eps)(sigma)
        return noise if redraw is None else torch.where(redraw, noise, covered)

    return start


def keeping(denoise: Denoise, image: Float[Tensor, "b c h w"], redraw: Bool[Tensor, "h w"]) -> Denoise:
    """A denoiser that sees the image itself where nothing is to be redrawn.

    A sampler that starts with these pixels under noise then takes them down along q(x_{t-1} | x_t, x_0), so that the
    network always sees them at the level at which it sees the others.
    """

    def denoise_the_rest(x: Tensor, sigma: float) -> Denoised:
        x_0, fraction = denoise(x, sigma)
        return Denoised(torch.where(redraw, x_0, image), fraction)

    return denoise_the_rest


def visited(levels: Levels, sampler: Sampler) -> list[float]:
    """The levels at which a deterministic sampler stops, falling, with 0 at the end; no network is needed to know.

    Raises ConfigError if the sampler draws noise on its way.
    """
    recorded: list[float] = []

    class Recording:
        def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
            recorded[:] = levels.sigmas(steps, spacing)
            return list(recorded)

    def blind(x: Tensor, sigma: float) -> Denoised:
        return Denoised(x, torch.zeros_like(x))

    sampler(Recording(), blind, lambda _: torch.zeros(1, 1, 1, 1), _silent(1, "cpu"))
    return recorded


def encode(sigmas: Sequence[float], denoise: Denoise, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The noisy images, at the level sigmas[0], from which a deterministic sampler leads to these images.

    Heun's method along dx/dsigma = (x - x_0) / sigma, upwards through the levels that the sampler visits downwards
    (`sigmas` falls and ends with 0): of second order, so that it is the sampler's error that remains.  The first step,
    away from 0, undoes a sampler's last: x = 2 image - x_0(image).  With n levels above 0 it evaluates 2 n - 1 times.
    Source: Song et al. 2021 (DDIM), section 4.3 and appendix C; Karras et al. 2022, eq. 1.
    """
    rising = list(sigmas[-2::-1])
    x = 2 * images - denoise(images, rising[0]).x_0
    for now, after in pairwise(rising):
        slope = (x - denoise(x, now).x_0) / now
        ahead = x + (after - now) * slope
        slope_ahead = (ahead - denoise(ahead, after).x_0) / after
        x = x + (after - now) / 2 * (slope + slope_ahead)
    return x


def decode(
    levels: Levels, sampler: Sampler, denoise: Denoise, codes: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n c h w"]:
    """The images that a deterministic sampler makes of noisy ones at its highest level.

    Raises ConfigError if the sampler draws noise on its way.
    """
    return sampler(levels, denoise, lambda _: codes, _silent(len(codes), codes.device))


def slerp(a: Float[Tensor, "c h w"], b: Float[Tensor, "c h w"], t: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """From a (t = 0) to b (t = 1) along a great circle, on which a mixture of noise is as long as noise.

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, with w the angle between them; a straight line if there is none.
    Source: Shoemake 1985.
    """
    cosine = torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0)
    angle = torch.arccos(cosine.clamp(-1, 1))
    t = t.double().view(-1, 1, 1, 1)
    if angle.sin() < 1e-6:
        return torch.lerp(a.double(), b.double(), t).to(a.dtype)
    return (((1 - t) * angle).sin() / angle.sin() * a + (t * angle).sin() / angle.sin() * b).to(a.dtype)


class _Silent(Noise):
    """Noise that nobody may ask for."""

    def normal(self, *shape: int, stream: int) -> NoReturn:
        raise ConfigError(
            "sampler: the way from an image to its noise and back takes a deterministic sampler, and this one draws "
            "noise as it goes; set sampler.kind to euler or dpmpp_2m, or to ddim with sampler.eta 0, or to heun with "
            "sampler.churn 0"
        )


def _silent(samples: int, device: torch.device | str) -> Noise:
    return _Silent(0, torch.arange(samples, device=device))
