"""RePaint: each part of the levels is gone through several times, so that kept and drawn pixels come to agree.

What is drawn hears of the kept pixels through a prediction at a time, and they of it not at all.  Noised up again, both
lie under the same noise, and the next way down begins with what the last one has made of the two.
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

#: Parts of a sampler's levels.  Lugmayr et al. go back by 10 of 250 levels; fewer steps have longer ones.
PARTS = 10
#: The random streams of a way down; there are at most as many levels, and a few for other uses.
STREAMS_OF_A_WAY = 2**20


def repainting(sampler: Sampler, rounds: int) -> Sampler:
    """A sampler that goes through each part of another's levels so many times, and is noised up again in between.

    The other one must visit levels that are the same for all images.  With one round it is that sampler, but for those
    that remember steps before a part.
    Source: Lugmayr et al. 2022 (RePaint), algorithm 1.
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
    """Neighbouring levels of a chain, whatever is asked for."""

    levels: list[float]
    whole: list[float]

    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        return self.levels


@dataclass(frozen=True)
class _LaterNoise(Noise):
    """The same samples with other streams: each is so many further on."""

    further: int

    def normal(self, *shape: int, stream: int) -> Float[Tensor, "n ..."]:
        return super().normal(*shape, stream=stream + self.further)
