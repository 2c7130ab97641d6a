"""At which noise levels a network is trained.

An item may keep a memory (buffers), which is saved with the training: it sees the losses of the levels it has drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.diffusion.process import GaussianDiffusion
from gensweep.noise import Noise
from gensweep.registry import Registry

__all__ = ["LEVELS", "TIME", "Drawn", "TrainingLevels", "Uniform"]

#: The stream of randomness of all of them.
TIME = 0


class Drawn(NamedTuple):
    """Levels of a batch.  `t` are timesteps, None where levels lie between them; `weight` makes a mean unbiased."""

    sigma: Float[Tensor, " b"]
    t: Int[Tensor, " b"] | None = None
    weight: Float[Tensor, " b"] | None = None


class TrainingLevels(Protocol):
    """How levels are drawn; `memory` is a module of buffers, empty where nothing is remembered."""

    memory: nn.Module

    def draw(self, noise: Noise, total: int) -> Drawn:
        """A level for each of the samples, which are positions in the training stream.

        `total` is the number of images in the batch over all workers; a batch begins at each multiple of it.
        """
        ...

    def observe(self, drawn: Drawn, losses: Float[Tensor, " b"], noise: Noise, total: int) -> None:
        """Learn from the losses, not weighted, of the levels drawn; every worker calls it together."""
        ...


#: Items are classes with positional (process) and settings keyword-only.
LEVELS: Registry[Callable[[GaussianDiffusion], TrainingLevels]] = Registry(
    "distribution of levels", package="gensweep.diffusion"
)


@LEVELS.register("uniform")
class Uniform:
    """Every timestep equally often.  Source: Ho et al. 2020, algorithm 1."""

    def __init__(self, process: GaussianDiffusion) -> None:
        self.process = process
        self.memory = nn.Module()

    def draw(self, noise: Noise, total: int) -> Drawn:
        """Independently for each sample."""
        t = noise.integers(self.process.timesteps, stream=TIME)
        return Drawn(self.process.sigma_at(t), t)

    def observe(self, drawn: Drawn, losses: Float[Tensor, " b"], noise: Noise, total: int) -> None:
        """Nothing to learn."""
