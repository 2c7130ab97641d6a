"""What families of denoisers have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from torch import nn

from gensweep.diffusion.samplers.sampler import SAMPLERS, Sampler
from gensweep.families.family import Guidance, GuidanceInterval
from gensweep.families.optimizers import Adam, adam
from gensweep.nn.networks import DENOISERS
from gensweep.registry import Choice, Section

__all__ = ["DenoisingSettings"]


@dataclass(frozen=True, kw_only=True)
class DenoisingSettings:
    """What all families of denoisers are set to: their network, how it learns labels, and how it draws images."""

    conditional: bool = False
    guidance: Guidance = 1.0
    guidance_interval: GuidanceInterval = None
    label_dropout: Annotated[float, Interval(ge=0, le=1)] = 0.1
    network: Annotated[Callable[[int, int, int, int], nn.Module], Choice(DENOISERS, "unet")]
    sampler: Annotated[Sampler, Choice(SAMPLERS, "ancestral")]
    optimizer: Annotated[Callable[[], Adam], Section(adam)]
