"""The section `diffusion` of a trial: process, what is predicted, what is minimised, and at which levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic import Field

from gensweep.diffusion.levels import LEVELS, TrainingLevels
from gensweep.diffusion.losses import LOSSES, DiffusionLoss
from gensweep.diffusion.parameterisations import PARAMETERISATIONS, Parameterisation
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.schedules import SCHEDULES, Schedule
from gensweep.registry import Choice

__all__ = ["Formulation", "formulation"]


class Formulation(NamedTuple):
    """A denoising diffusion model, but for its network."""

    process: GaussianDiffusion
    parameterisation: Parameterisation
    loss: DiffusionLoss
    levels: TrainingLevels


def formulation(
    *,
    timesteps: Annotated[int, Field(ge=1, le=100_000)] = 1000,
    schedule: Annotated[Schedule, Choice(SCHEDULES, "linear")],
    parameterisation: Annotated[Parameterisation, Choice(PARAMETERISATIONS, "eps")],
    loss: Annotated[Callable[[], DiffusionLoss], Choice(LOSSES, "simple")],
    levels: Annotated[Callable[[GaussianDiffusion], TrainingLevels], Choice(LEVELS, "uniform")],
) -> Formulation:
    """The diffusion process that a schedule gives for a number of timesteps, and how a network learns its way back.

    For EDM: schedule karras, parameterisation edm, levels lognormal.
    """
    process = GaussianDiffusion(schedule(timesteps))
    return Formulation(process, parameterisation, loss(), levels(process))
