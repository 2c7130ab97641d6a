"""The distribution of the noise levels that a network is trained at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from annotated_types import Interval, doc
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gensweep.diffusion.gamma import wide
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.noise import Noise
from gensweep.registry import Registry

#: The random stream of the training levels.
TIMESTEP_STREAM = 0
#: Losses of each timestep that importance sampling remembers (Nichol & Dhariwal 2021, section 3.3).
LOSSES_PER_TIMESTEP = 10
#: Uniform random numbers are multiples of this; half of it is added, which makes their mean 1/2.
UNIFORM_CELL = 2.0**-24
#: Levels are e to the power of this at most, and of its negative at least, whose squares single precision can hold.
MAX_LOG_SIGMA = 20.0

Drawing: TypeAlias = Literal["antithetic", "independent"]
HOW_TIMES_ARE_DRAWN = doc(
    "independent: each image's by itself; antithetic: evenly spread over each batch (Kingma et al. 2021, appendix I)"
)


class DrawnLevels(NamedTuple):
    """Levels of a batch.  `t` are timesteps, None where levels lie between them; `weight` makes a mean unbiased."""

    sigma: Float[Tensor, " b"]
    t: Int[Tensor, " b"] | None = None
    weight: Float[Tensor, " b"] | None = None


class TrainingLevels(nn.Module, ABC):
    """How levels are drawn; what is learnt in training are its buffers, which are saved in checkpoints.

    `discrete` says that levels are those of the process's steps, not between them.
    """

    discrete: ClassVar[bool] = True

    def __init__(self, process: GaussianDiffusion) -> None:
        super().__init__()
        self.process = process

    @abstractmethod
    def draw(self, noise: Noise, total: int) -> DrawnLevels:
        """A level for each of the samples, which are positions in the training stream.

        `total` is the number of images in the batch over all workers; a batch begins at each multiple of it.
        """

    def observe(self, drawn: DrawnLevels, losses: Float[Tensor, " b"], noise: Noise, total: int) -> None:
        """Learn from the losses, not weighted, of the levels drawn; every worker calls it together."""


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


@TRAINING_LEVELS.register("importance")
class Importance(TrainingLevels):
    """Timesteps with p proportional to the root mean square of their last losses: it lowers the variance of the mean.

    Uniform until every timestep has been drawn often enough.
    Source: Nichol & Dhariwal 2021, eq. 18.
    """

    losses: Tensor
    counts: Tensor

    def __init__(
        self,
        process: GaussianDiffusion,
        *,
        uniform: Annotated[float, Interval(gt=0, le=1), doc("share of the draws that is always uniform")] = 0.001,
    ) -> None:
        super().__init__(process)
        self.uniform = uniform
        self.register_buffer("losses", torch.zeros(process.timesteps, LOSSES_PER_TIMESTEP))
        self.register_buffer("counts", torch.zeros(process.timesteps, dtype=torch.int64))

    def draw(self, noise: Noise, total: int) -> DrawnLevels:
        """Independently for each sample, with the weights 1 / (timesteps p) that leave the mean as it is."""
        p = self.probabilities()
        # The middles of 2^31 cells, in double precision: p may be 10^-8.
        u = (noise.integers(2**31, stream=TIMESTEP_STREAM).to(p) + 0.5) / 2**31
        t = torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=len(p) - 1)
        return DrawnLevels(self.process.sigma_at(t), t, (1 / (len(p) * p[t])).float())

    def probabilities(self) -> Float[Tensor, " t"]:
        """How often each timestep is drawn."""
        root = wide(self.losses).square().mean(dim=1).sqrt()
        even = torch.full_like(root, 1 / len(root))
        learnt = (self.counts.min() >= LOSSES_PER_TIMESTEP) & (root.sum() > 0)
        return torch.where(learnt, torch.lerp(root / root.sum(), even, self.uniform), even)

    def observe(self, drawn: DrawnLevels, losses: Float[Tensor, " b"], noise: Noise, total: int) -> None:
        """Remember the losses of all workers, in the order of the images in the batch."""
        assert drawn.t is not None, "levels that were drawn here are timesteps"
        t, values, present = _gathered(drawn.t, losses, noise.samples % total, total)
        # Positions of the batch that no worker has get a timestep of their own, which is dropped.
        none = len(self.counts)
        t = torch.where(present, t, none)
        number = torch.zeros(none + 1, dtype=torch.int64, device=t.device).index_add_(0, t, torch.ones_like(t))
        order = t.argsort(stable=True)
        position = torch.empty_like(t)
        position[order] = torch.arange(total, device=t.device) - torch.searchsorted(t[order].contiguous(), t[order])
        kept = present & (position >= number[t] - LOSSES_PER_TIMESTEP)
        old = torch.cat([self.counts, self.counts.new_zeros(1)])
        slot = torch.where(kept, (old[t] + position) % LOSSES_PER_TIMESTEP, 0)
        table = torch.cat([self.losses, self.losses.new_zeros(1, LOSSES_PER_TIMESTEP)])
        table[torch.where(kept, t, none), slot] = values.to(table)
        self.losses.copy_(table[:-1])
        self.counts += number[:-1]


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


def _gathered(
    t: Int[Tensor, " b"], losses: Float[Tensor, " b"], position: Int[Tensor, " b"], total: int
) -> tuple[Int[Tensor, " total"], Float[Tensor, " total"], Bool[Tensor, " total"]]:
    """Timesteps and losses of all workers by position in the batch, and which positions have any."""
    table = torch.zeros(3, total, device=losses.device)
    table[:, position] = torch.stack([t.float(), losses.float(), torch.ones_like(losses, dtype=torch.float32)])
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(table)
    # Two workers with the same position have the same values there.
    mean = table[:2] / table[2].clamp(min=1)
    return mean[0].round().long(), mean[1], table[2] > 0
