"""What a sampler does to the variance of its images, computed and not guessed."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from gensweep.diffusion.likelihood import TYPICAL_DATA_STD
from gensweep.diffusion.samplers.sampler import Denoised, Level, Levels, Sampler
from gensweep.noise import Noise

#: The stream that stands for the noise at the start of a chain; those of samplers are not negative.
START_OF_CHAIN_STREAM = -1


def widening(levels: Levels, sampler: Sampler, std: float = TYPICAL_DATA_STD) -> float:
    """The variance of samples over that of the data, if these are N(0, std^2) and the network is perfect.

    1 is right; less blurs, and more adds noise.  The ideal denoiser of Gaussian data is linear, x_0 = std^2 / (std^2 +
    sigma^2) x, so a sample is a sum over the independent normal numbers that it is made of, and one run with each of
    them alone gives its variance exactly.
    """
    streams = set()

    class Asked(_OneEach):
        def normal(self, *shape: int, stream: int) -> Float64[Tensor, "n ..."]:
            streams.add(stream)
            return super().normal(*shape, stream=stream)

    _sample(levels, sampler, std, Asked(0, torch.tensor([START_OF_CHAIN_STREAM])))
    return float(_sample(levels, sampler, std, _OneEach(0, torch.tensor(sorted(streams)))).square().sum()) / std**2


def _sample(levels: Levels, sampler: Sampler, std: float, noise: Noise) -> Float64[Tensor, "n 1 1 1"]:
    def ideal(x: Tensor, sigma: Level) -> Denoised:
        return Denoised(x * (std**2 / (std**2 + sigma**2)), torch.zeros_like(x))

    def start(sigma: float) -> Tensor:
        return noise.normal(1, 1, 1, stream=START_OF_CHAIN_STREAM) * math.sqrt(1 + sigma**2)

    return sampler(levels, ideal, start, noise)


class _OneEach(Noise):
    """Sample i has one random number that is 1, that of stream `samples[i]`; all of its others are 0."""

    def normal(self, *shape: int, stream: int) -> Float64[Tensor, "n ..."]:
        one = (self.samples == stream).double()
        return one.view(-1, *[1] * len(shape)).expand(-1, *shape)
