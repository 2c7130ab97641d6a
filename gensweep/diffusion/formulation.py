"""The section `diffusion` of a trial: process, what is predicted, what is minimised, and at which levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from annotated_types import Interval

from gensweep.diffusion.denoising_losses import LOSSES, DiffusionLoss
from gensweep.diffusion.levels import TRAINING_LEVELS, TrainingLevels
from gensweep.diffusion.parameterisations import PARAMETERISATIONS, Parameterisation
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.schedules import SCHEDULES, Schedule
from gensweep.errors import ParameterError
from gensweep.registry import Choice, Registry

__all__ = ["Formulation", "formulation"]


class Formulation(NamedTuple):
    """A denoising diffusion model, but for its network."""

    process: GaussianDiffusion
    parameterisation: Parameterisation
    loss: DiffusionLoss
    levels: TrainingLevels


def formulation(
    *,
    timesteps: Annotated[int, Interval(ge=1, le=100_000)] = 1000,
    schedule: Annotated[Schedule, Choice(SCHEDULES, "linear")],
    parameterisation: Annotated[Parameterisation, Choice(PARAMETERISATIONS, "eps")],
    loss: Annotated[Callable[[], DiffusionLoss], Choice(LOSSES, "simple")],
    levels: Annotated[Callable[[GaussianDiffusion], TrainingLevels], Choice(TRAINING_LEVELS, "uniform")],
) -> Formulation:
    """The diffusion process that a schedule gives for a number of timesteps, and how a network learns its way back.

    For EDM: schedule karras, parameterisation edm, levels lognormal.
    Raises ConfigError for a loss that needs timesteps with levels between them.
    """
    process = GaussianDiffusion(schedule(timesteps))
    made = Formulation(process, parameterisation, loss(), levels(process))
    if made.loss.learns_variance and not made.levels.discrete:
        raise ParameterError(
            "loss",
            f"{_kind(LOSSES, made.loss)} needs timesteps, but the levels {_kind(TRAINING_LEVELS, made.levels)} lie "
            f"between them; take other levels ({_listed(TRAINING_LEVELS, 'discrete', True)}) or another loss "
            f"({_listed(LOSSES, 'learns_variance', False)})",
        )
    return made


def _kind(registry: Registry[Any], item: object) -> str:
    return next((kind for kind in registry if registry[kind] is type(item)), type(item).__name__)


def _listed(registry: Registry[Any], attribute: str, value: bool) -> str:
    return ", ".join(kind for kind in registry if getattr(registry[kind], attribute) is value)
