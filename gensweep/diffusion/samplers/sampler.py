"""The one signature of all samplers.

Samplers know noise by its level alone: sigma, the standard deviation of the noise that lies on an image, x = x_0 +
sigma eps.  A process that scales its images down as it adds noise is the same process seen through a lens, since
x_t = sqrt(alpha_bar) x with sigma = sqrt((1 - alpha_bar) / alpha_bar).  Source: Karras et al. 2022, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from gensweep.noise import Noise
from gensweep.registry import Registry

__all__ = [
    "SAMPLERS",
    "START",
    "STREAM",
    "Denoise",
    "Denoised",
    "Levels",
    "Sampler",
    "Spacing",
    "Start",
    "Steps",
    "from_noise",
]

#: The stream of the noise that images begin with.
START = 3
#: Step i from the end of a sampler's chain takes its noise from stream STREAM + i.
STREAM = 16

Steps: TypeAlias = Annotated[int, Ge(1)] | None
Spacing: TypeAlias = Literal["time", "karras", "log_snr"]


class Denoised(NamedTuple):
    """What a denoiser sees in a noisy image.

    `x_0` is the expected image, clipped to [-1, 1]; `fraction` says where the variance of a step lies between the
    logarithms of the small one (0) and the large one (1), if the network has learnt that.
    """

    x_0: Float[Tensor, "b c h w"]
    fraction: Float[Tensor, "b c h w"] | None = None


@runtime_checkable
class Levels(Protocol):
    """Where a sampler may stop on its way from noise to image."""

    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        """`steps` noise levels, falling, and 0 at the end; None means every level of the process.

        Spacing is even in the process's time, in sigma^(1/7) (karras) or in the logarithm of sigma (log_snr).
        Raises ConfigError if the process has fewer steps.
        """
        ...


#: (x at a level, sigma) -> what is seen in it.  The parameterisation, guidance and the network are hidden behind it.
Denoise = Callable[[Tensor, float], Denoised]
#: sigma -> the noisy images x to begin with, at that level.
Start = Callable[[float], Tensor]
#: (levels, denoise, start, noise) -> x_0 in [-1, 1], if `denoise` clips.
Sampler = Callable[[Levels, Denoise, Start, Noise], Tensor]
SAMPLERS: Registry[Callable[..., Tensor]] = Registry("sampler", package="gensweep.diffusion.samplers")


def from_noise(eps: Float[Tensor, "b c h w"]) -> Start:
    """Begin with nothing but noise: images of variance 1 that are covered by it, which is what x_T ~ N(0, I) means."""

    def start(sigma: float) -> Tensor:
        # The product is formed in eps's own precision: a level can be as high as 10^4.
        return eps * torch.tensor(1 + sigma**2, dtype=torch.float64).sqrt().item()

    return start
