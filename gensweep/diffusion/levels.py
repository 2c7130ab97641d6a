"""The distribution of the noise levels that a network is trained at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

from annotated_types import Interval, doc
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.diffusion.gamma import wide
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.noise import Noise
from gensweep.registry import Registry

#: The random stream of the training levels.
TIMESTEP_STREAM = 0
#: Uniform random numbers are multiples of this; half of it is added, which makes their mean 1/2.
UNIFORM_CELL = 2.0**-24
#: Levels are e to the power of this at most, and of its negative at least, whose squares single precision can hold.
MAX_LOG_SIGMA = 20.0

Drawing: TypeAlias = Literal["antithetic", "independent"]
HOW_TIMES_ARE_DRAWN = doc(
    "independent: each image's by itself; antithetic: evenly spread over each batch (Kingma et al. 2021, appendix I)"
)


class DrawnLevels(NamedTuple):
    """Levels of a batch.  `t` are timesteps, None where levels lie between them."""

    sigma: Float[Tensor, " b"]
    t: Int[Tensor, " b"] | None = None


class TrainingLevels(ABC):
    """How levels are drawn; `discrete` ones are the levels of the process's steps, not between them."""

    discrete: ClassVar[bool] = True

    def __init__(self, process: GaussianDiffusion) -> None:
        self.process = process

    @abstractmethod
    def draw(self, noise: Noise, total: int) -> DrawnLevels:
        """A level for each of the samples, which are positions in the training stream.

        `total` is the number of images in the batch over all workers; a batch begins at each multiple of it.
        """


#: Items are classes with positional (process) and settings keyword-only.
TRAINING_LEVELS: Registry[Callable[[GaussianDiffusion], TrainingLevels]] = Registry(
    "distribution of levels", package="gensweep.diffusion"
)


@TRAINING_LEVELS.register("uniform")
class Uniform(TrainingLevels):
    """Every timestep equally often.  Source: Ho et al. 2020, algorithm 1."""

    def draw(self, noise: Noise, total: int) -> DrawnLevels:
        """Independently for each sample."""
        t = noise.integers(self.process.timesteps, stream=TIMESTEP_STREAM)
        return DrawnLevels(self.process.sigma_at(t), t)


@TRAINING_LEVELS.register("antithetic")
class Antithetic(TrainingLevels):
    """Every timestep equally often, evenly spread over each batch, which lowers the variance of the batch's mean.

    t = (u + i/B) mod 1 for image i of a batch of B, with one uniform u for all.
    Source: Kingma et al. 2021, appendix I.
    """

    def draw(self, noise: Noise, total: int) -> DrawnLevels:
        """Together, for all images of a batch on whatever worker."""
        u, position = _antithetic(noise, total)
        time = (u + position / total) % 1
        t = (time * self.process.timesteps).long().clamp(max=self.process.timesteps - 1)
        return DrawnLevels(self.process.sigma_at(t), t)


@TRAINING_LEVELS.register("lognormal")
class LogNormal(TrainingLevels):
    """Levels between the timesteps: ln sigma ~ N(mean, std^2).  Source: Karras et al. 2022, table 1."""

    discrete = False

    def __init__(
        self,
        process: GaussianDiffusion,
        *,
        mean: Annotated[float, Interval(ge=-10, le=10), doc("mean of ln sigma, P_mean")] = -1.2,
        std: Annotated[float, Interval(gt=0, le=10), doc("standard deviation of ln sigma, P_std")] = 1.2,
    ) -> None:
        super().__init__(process)
        self.mean, self.std = mean, std

    def draw(self, noise: Noise, total: int) -> DrawnLevels:
        """Independently for each sample."""
        log_sigma = self.mean + self.std * noise.normal(stream=TIMESTEP_STREAM)
        return DrawnLevels(log_sigma.clamp(-MAX_LOG_SIGMA, MAX_LOG_SIGMA).exp())


def draw_times(noise: Noise, total: int, drawing: Drawing) -> Float[Tensor, " b"]:
    """Times between 0 and 1, in continuous time, for the samples, which are positions in the training stream.

    Antithetic ones are evenly spread over each batch of `total`: t = (u + i/B) mod 1 for image i of B, with one u for
    all, on whatever worker; it lowers the variance of the batch's mean.  Source: Kingma et al. 2021, appendix I.
    """
    if drawing == "independent":
        return wide(noise.uniform(stream=TIMESTEP_STREAM)) + UNIFORM_CELL / 2
    u, position = _antithetic(noise, total)
    return (wide(u) + UNIFORM_CELL / 2 + wide(position.float()) / total) % 1


def _antithetic(noise: Noise, total: int) -> tuple[Float[Tensor, " 1"], Int[Tensor, " b"]]:
    """One uniform number for all images of a batch, on whatever worker, and the position of each in the batch."""
    position = noise.samples % total
    return Noise(noise.key, (noise.samples - position)[:1]).uniform(stream=TIMESTEP_STREAM), position
