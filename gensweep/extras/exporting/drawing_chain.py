"""How a diffusion model samples, for other programs: noise levels, and the noise of each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from gensweep.diffusion.process import posterior
from gensweep.errors import ConfigError
from gensweep.families.denoising import DenoisingFamily

Variance: TypeAlias = Literal["small", "large"]

#: Samplers whose steps are ancestral sampling or DDIM on given levels.
EXPRESSIBLE_SAMPLERS = ("ancestral", "ddim", "euler")
#: Half a unit in the last place of a float32 near 1.
FLOAT32_ROUNDING = 2.0**-24


@dataclass(frozen=True)
class DrawingChain:
    """Steps down falling noise levels `sigmas`, followed by 0.

    Each is a DDIM step with `eta` or, with a `variance`, an ancestral step.  Levels are standard deviations of the
    noise relative to the image.
    """

    sampler: str
    sigmas: tuple[float, ...]
    eta: float = 0.0
    variance: Variance | None = None

    @property
    def rising(self) -> Float64[Tensor, " t"]:
        """Levels in the order of timesteps 0, 1, ..."""
        return torch.tensor(self.sigmas[::-1], dtype=torch.float64)

    def betas(self) -> Float64[Tensor, " t"]:
        """1 - alpha_bar_t / alpha_bar_{t-1} by timestep, without cancellation."""
        variance = self.rising.square()
        before = torch.cat([torch.zeros(1, dtype=torch.float64), variance[:-1]])
        return (variance - before) / (1 + variance)

    def float32_error(self) -> float:
        """Approximate change of an image if alpha_bar is float32: rounding error / sigma per step."""
        return sum(FLOAT32_ROUNDING / sigma for sigma in self.sigmas)

    def guided(self, interval: tuple[float, float] | None) -> tuple[int, int]:
        """First timestep with a level in (low, high], and the one after the last."""
        if interval is None:
            return 0, len(self.sigmas)
        low, high = (int((self.rising <= end).sum()) for end in interval)
        return low, high

    def steps(self) -> list[dict[str, float]]:
        """Each step as x' = x_0 + drift (x - x_0) + std z, for images x_0 as predicted at `sigma` and noise z."""
        found = []
        for now, after in pairwise((*self.sigmas, 0.0)):
            step = posterior(now, after)
            if self.variance is None:
                variance = self.eta**2 * step.small
                drift = math.sqrt(max(0.0, after**2 - variance)) / now
            else:
                variance = step.large if self.variance == "large" and after else step.small
                drift = step.keep
            found.append({"sigma": now, "drift": drift, "std": math.sqrt(variance)})
        return found


def drawing_chain(settings: Mapping[str, Any], family: DenoisingFamily, network: nn.Module) -> DrawingChain:
    """The chain of a sampler with these settings (including `kind`) on a network's noise levels.

    Raises ConfigError unless the sampler is one of EXPRESSIBLE_SAMPLERS.
    """
    kind = settings["kind"]
    if kind not in EXPRESSIBLE_SAMPLERS:
        raise ConfigError(
            f"sampler {kind!r} cannot be exported, only samplers with steps of DDPM or DDIM; choose one of "
            f"{', '.join(EXPRESSIBLE_SAMPLERS)}, such as --set sampler.kind=ddim --set sampler.steps=50, or --to "
            "safetensors, which keeps every sampler"
        )
    *sigmas, _ = family.process_of(network).sigmas(settings["steps"], settings.get("spacing", "time"))
    if kind != "ancestral":
        return DrawingChain(kind, tuple(sigmas), eta=settings.get("eta", 0.0))
    return DrawingChain(kind, tuple(sigmas), variance=settings["variance"])
