"""Warnings about sampler settings that fail with any network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from gensweep.config import TrialConfig
from gensweep.diffusion.likelihood import TYPICAL_DATA_STD
from gensweep.diffusion.samplers.sampler import Levels, Sampler
from gensweep.families.family import Denoising
from gensweep.noise import Noise

#: Warn if the variance of images is more than this times that of the data: they look noisy.
MAX_VARIANCE_RATIO = 1.2
#: Sections of a trial that do not affect the sampler's levels.
SECTIONS_WITHOUT_LEVELS = ("seed", "data", "start", "network", "optimizer", "training", "evaluation")
#: The stream of the initial noise; streams of samplers are not negative.
START_OF_CHAIN_STREAM = -1


def sampler_warnings(trials: Iterable[TrialConfig]) -> list[str]:
    """A warning for each sampler of the trials whose images vary far too much, with better settings."""
    distinct = {}
    for trial in trials:
        values = {name: value for name, value in trial.as_dict().items() if name not in SECTIONS_WITHOUT_LEVELS}
        distinct[json.dumps(values)] = trial
    return list(dict.fromkeys(filter(None, map(_warning, distinct.values()))))


def _warning(trial: TrialConfig) -> str | None:
    settings = trial.as_dict().get("sampler")
    if settings is None:
        return None
    # The levels depend only on the process, and a network would take time to build.
    family = trial.bound("family")(1, 8, 2, network=lambda *_: nn.Identity())
    if not isinstance(family, Denoising):
        return None
    ratio = widening(family.process, family.sampler)
    if ratio <= MAX_VARIANCE_RATIO:
        return None
    remedy = "use more sampler.steps, sampler.spacing log_snr or sampler.kind straight_heun"
    if settings.get("churn"):
        remedy = "lower sampler.churn_noise or sampler.churn"
    spacing = f" and spacing {settings['spacing']}" if "spacing" in settings else ""
    return (
        f"sampler: {settings['kind']} with {settings.get('steps') or 'all'} steps{spacing} makes the variance of "
        f"Gaussian images {ratio:.3g} times as large as that of the data, even with a perfect network; {remedy}"
    )


def widening(levels: Levels, sampler: Sampler, std: float = TYPICAL_DATA_STD) -> float:
    """The variance of samples over that of the data, if these are N(0, std^2) and the network is perfect.

    1 is right; less blurs, and more adds noise.  The ideal denoiser of Gaussian data is linear,
    x_0 = std^2 / (std^2 + sigma^2) x, so a sample is a weighted sum of independent normal numbers.  One run with each
    alone gives its variance exactly.
    """
    streams = set()

    class Asked(_OneEach):
        def normal(self, *shape: int, stream: int) -> Float64[Tensor, "n ..."]:
            streams.add(stream)
            return super().normal(*shape, stream=stream)

    _sample(levels, sampler, std, Asked(0, torch.tensor([START_OF_CHAIN_STREAM])))
    return float(_sample(levels, sampler, std, _OneEach(0, torch.tensor(sorted(streams)))).square().sum()) / std**2


def _sample(levels: Levels, sampler: Sampler, std: float, noise: Noise) -> Float64[Tensor, "n 1 1 1"]:
    def ideal(x: Tensor, sigma: float, *_: float) -> Tensor:
        return x * (std**2 / (std**2 + sigma**2))

    def start(sigma: float) -> Tensor:
        return noise.normal(1, 1, 1, stream=START_OF_CHAIN_STREAM) * math.sqrt(1 + sigma**2)

    return sampler(levels, ideal, start, noise)


class _OneEach(Noise):
    """In sample i the random number of stream `samples[i]` is 1; all others are 0."""

    def normal(self, *shape: int, stream: int) -> Float64[Tensor, "n ..."]:
        one = (self.samples == stream).double()
        return one.view(-1, *[1] * len(shape)).expand(-1, *shape)
