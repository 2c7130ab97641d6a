"""Denoising diffusion models, unconditional or with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from annotated_types import Interval, doc
from torch import nn

from gensweep.diffusion.guidance import training_labels
from gensweep.diffusion.levels import LOSSES, TRAINING_LEVELS, DiffusionLoss, TrainingLevels
from gensweep.diffusion.likelihood import bound
from gensweep.diffusion.parameterisations import PARAMETERISATIONS, Parameterisation
from gensweep.diffusion.process import GaussianDiffusion, q_sample
from gensweep.diffusion.schedules import SCHEDULES, Schedule
from gensweep.families.denoising import TRAINING_NOISE_STREAM, DenoisingFamily, SamplingPrecision
from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.registry import Choice, SameAs, Section


class Formulation(NamedTuple):
    """A denoising diffusion model, but for its network."""

    process: GaussianDiffusion
    parameterisation: Parameterisation
    loss: DiffusionLoss
    levels: TrainingLevels


def formulation(
    *,
    timesteps: Annotated[int, Interval(ge=1, le=100_000), doc("steps from an image to noise, T")] = 1000,
    schedule: Annotated[Schedule, Choice(SCHEDULES, "linear"), doc("share of the image left at each timestep")],
    parameterisation: Annotated[Parameterisation, Choice(PARAMETERISATIONS, "eps"), doc("the network's output")],
    loss: Annotated[DiffusionLoss, Choice(LOSSES, "simple"), doc("weighting of the errors")],
    levels: Annotated[
        TrainingLevels, Choice(TRAINING_LEVELS, "uniform"), doc("how the noise levels of training images are drawn")
    ],
) -> Formulation:
    """A diffusion process given by schedule and number of timesteps, and how a network learns to reverse it.

    For EDM: schedule karras, parameterisation edm, levels lognormal.
    """
    return Formulation(GaussianDiffusion(schedule(timesteps)), parameterisation, loss, levels)


@FAMILIES.register("diffusion")
class DiffusionFamily(DenoisingFamily):
    """A denoising diffusion model.

    In bfloat16, sampling keeps the highest noise levels and the last layer in float32; their rounding would be visible.
    Source: Ho et al. 2020; Ho & Salimans 2022 (guidance).
    """

    of_training = (*DenoisingFamily.of_training, "diffusion.levels", "diffusion.loss")
    process: GaussianDiffusion
    #: Little of the image is left above; samplers divide by the level, which amplifies rounding errors.
    max_coarse_sigma = 200.0

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        sampling_precision: SamplingPrecision = "auto",
        diffusion: Annotated[Callable[[], Formulation], Section(formulation)],
        **settings: Annotated[Any, SameAs(DenoisingFamily)],
    ) -> None:
        self.process, self.parameterisation, self.loss, self.levels = diffusion()
        super().__init__((channels, size, size), classes, channels, channels, **settings)
        self.sampling_precision = sampling_precision
        self.bound = bound

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The mean loss at a level drawn for each image."""
        sigma = self.levels(self.process, batch.noise, batch.total)
        eps = batch.noise.normal(*self.shape, stream=TRAINING_NOISE_STREAM)
        coefficients = self.parameterisation(sigma)
        time = self.process.network_time(sigma) if coefficients.time is None else coefficients.time
        noisy = q_sample(batch.images, sigma, eps, coefficients.into)
        labels = training_labels(batch.labels, batch.noise, classes=self.classes, dropout=self.label_dropout)
        output = networks[self.sampled](noisy, time, labels).float()
        error = (output - coefficients.target(batch.images, eps, sigma)).square().mean(dim=(1, 2, 3))
        yield Loss(self.sampled, self.loss(error, sigma, coefficients.out.flatten()).mean(), "diffusion")
