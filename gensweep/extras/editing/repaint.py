"""RePaint: repeat each part of the levels several times, so that kept and drawn pixels match.

In one pass, drawn pixels see the kept ones only through predictions.  After adding noise again, both share the same
noise, and the next pass starts from both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.samplers.sampler import START_STREAM, Denoise, Levels, Sampler, Spacing, Start, visited
from gensweep.noise import Noise

#: Number of parts of a sampler's levels.  Lugmayr et al. go back 10 of 250 levels; with fewer steps parts are longer.
PARTS = 10
#: Random streams reserved per pass: at most one per level, and a few for other uses.
STREAMS_OF_A_WAY = 2**20


def repainting(sampler: Sampler, rounds: int) -> Sampler:
    """A sampler that repeats each part of another's levels `rounds` times, adding noise in between.

    The other one must visit the same levels for all images.  One round equals that sampler, except for multistep
    samplers, which forget the steps before a part.  Source: Lugmayr et al. 2022 (RePaint), algorithm 1.
    """

    def sample(levels: Levels, denoise: Denoise, start: Start, noise: Noise) -> Float[Tensor, "b c h w"]:
        sigmas = visited(levels, sampler, Noise(0, torch.zeros(1, dtype=torch.int64)))
        count = min(PARTS, len(sigmas) - 1)
        cuts = [round(number * (len(sigmas) - 1) / count) for number in range(count + 1)]
        x, ways = start(sigmas[0]), 0
        for part in (_Part(sigmas[first : last + 1], sigmas) for first, last in pairwise(cuts)):
            for again in range(rounds):
                fresh = _LaterNoise(noise.key, noise.samples, ways * STREAMS_OF_A_WAY)
                if again:
                    spread = math.sqrt(part.levels[0] ** 2 - part.levels[-1] ** 2)
                    x = x + spread * fresh.normal(*x.shape[1:], stream=START_STREAM)
                here = x
                x = sampler(part, denoise, lambda _: here, fresh)  # noqa: B023 (called at once)
                ways += 1
        return x

    return sample


@dataclass(frozen=True)
class _Part:
    """Neighbouring levels of a chain, ignoring the argument."""

    levels: list[float]
    whole: list[float]

    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        return self.levels


@dataclass(frozen=True)
class _LaterNoise(Noise):
    """The same noise with every stream shifted by a number."""

    further: int

    def normal(self, *shape: int, stream: int) -> Float[Tensor, "n ..."]:
        return super().normal(*shape, stream=stream + self.further)
