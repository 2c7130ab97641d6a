"""The one signature of all samplers.

Samplers use the noise level sigma alone, the standard deviation of the noise in x = x_0 + sigma eps.  A process that
scales its images down as it adds noise is the same process up to that scale:
x_t = sqrt(alpha_bar) x with sigma = sqrt((1 - alpha_bar) / alpha_bar).  Source: Karras et al. 2022, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from annotated_types import Ge, doc
from jaxtyping import Float
from torch import Tensor

from gensweep.noise import Noise
from gensweep.registry import Registry

#: The random stream of the noise that images begin with.
START_STREAM = 3
#: Step i, counted from the end of a sampler's chain, takes its noise from stream FIRST_STEP_STREAM + i.
FIRST_STEP_STREAM = 16

#: Steps of a sampler without `steps` in continuous time, where there is no number of all levels.
DEFAULT_SAMPLING_STEPS = 1000

Steps: TypeAlias = Annotated[
    Annotated[int, Ge(1)] | None,
    doc(
        "noise levels that are visited; null: all timesteps there were in training, in continuous time "
        f"{DEFAULT_SAMPLING_STEPS}"
    ),
]
Spacing: TypeAlias = Literal["time", "karras", "log_snr"]
WHERE_LEVELS_LIE = doc(
    "evenly in the process's time, in sigma^(1/7) (karras; Karras et al. 2022, eq. 5) or in ln sigma (log_snr)"
)


@runtime_checkable
class Levels(Protocol):
    """The noise levels that a sampler can visit."""

    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        """`steps` noise levels, falling, and 0 at the end; None means every level of the process.

        Spacing is even in the process's time, in sigma^(1/7) (karras) or in the logarithm of sigma (log_snr).
        Raises ConfigError if the process has fewer steps.
        """
        ...


class Process(Levels, Protocol):
    """Noise levels, and how a network is told of them."""

    def network_time(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The network's time input for a level, in [0, 1000)."""
        ...


#: (x at a level, sigma) -> x_0, clipped to [-1, 1], as network, parameterisation and guidance predict it together.
#: Euler's method adds the level `until` which its step leads; a denoiser without mean velocities ignores it.
Denoise = Callable[..., Tensor]
#: sigma -> the noisy images x to begin with, at that level.
Start = Callable[[float], Tensor]
#: (levels, denoise, start, noise) -> x_0 in [-1, 1], if `denoise` clips.
Sampler = Callable[[Levels, Denoise, Start, Noise], Tensor]
SAMPLERS: Registry[Callable[..., Tensor]] = Registry("sampler", package="gensweep.diffusion.samplers")


def from_noise(eps: Float[Tensor, "b c h w"]) -> Start:
    """Start from noise alone, x ~ N(0, 1 + sigma^2): that is x_T ~ N(0, I) without its scale."""

    def start(sigma: float) -> Tensor:
        # The product is formed in eps's own precision: a level can be as high as 10^4.
        return eps * torch.tensor(1 + sigma**2, dtype=torch.float64).sqrt().item()

    return start


def transitions(sigmas: list[float]) -> Iterator[tuple[float, float, int]]:
    """Each level of a sampler with the next one, and the random stream of the step between them."""
    last = FIRST_STEP_STREAM + len(sigmas) - 2
    for position, (now, after) in enumerate(pairwise(sigmas)):
        yield now, after, last - position
