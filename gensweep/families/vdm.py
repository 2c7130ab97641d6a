"""Variational diffusion models, whose noise schedule is learnt with the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import torch
from annotated_types import Interval, doc
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.diffusion.gamma import GAMMAS, Gamma, schedule_of
from gensweep.diffusion.guidance import training_labels
from gensweep.diffusion.levels import HOW_TIMES_ARE_DRAWN, Drawing, draw_times
from gensweep.diffusion.parameterisations import PARAMETERISATIONS, Parameterisation
from gensweep.diffusion.process import q_sample
from gensweep.diffusion.variational import DiffusionTerm, neighbours, prior_term, reconstruction_term, variational_bound
from gensweep.families.denoising import TRAINING_NOISE_STREAM, DenoisingFamily
from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.registry import Choice, SameAs, Section

#: Random stream of the reconstruction term; see TRAINING_NOISE_STREAM for the others.
RECONSTRUCTION_STREAM = 5
#: Steps after which gamma at t = 0 is read again, for which a GPU has to wait, and the most that it rises in them: at a
#: learning rate of 2e-4 it rises by 0.02.
STEPS_PER_READING, MAX_GAMMA_RISE = 100, 0.5

Exponent: TypeAlias = Annotated[int, Interval(ge=0, le=10)]


@dataclass(frozen=True, kw_only=True)
class Variational:
    """The learned schedule, in continuous or discrete time, and the network's input.  Source: Kingma et al. 2021."""

    timesteps: Annotated[
        Annotated[int, Interval(ge=1, le=100_000)] | None, doc("steps from an image to noise; null: continuous time")
    ] = None
    schedule: Annotated[
        Callable[[int | None], Gamma],
        Choice(GAMMAS, "monotone"),
        doc("the noise schedule, and which parts are learned"),
    ]
    parameterisation: Annotated[Parameterisation, Choice(PARAMETERISATIONS, "eps"), doc("the network's output")]
    times: Annotated[Drawing, HOW_TIMES_ARE_DRAWN] = "antithetic"
    fourier: Annotated[
        tuple[Exponent, ...],
        doc("exponents n of the features sin(2^n pi z) and cos(2^n pi z), appended to the image z"),
    ] = (7, 8)


class VariationalNetwork(nn.Module):
    """A denoiser with Fourier features of its input, and the schedule that is learnt with it.

    They are one network, so they are averaged, wrapped and saved together.
    """

    def __init__(self, denoiser: nn.Module, exponents: Sequence[int], schedule: Gamma) -> None:
        super().__init__()
        self.denoiser, self.exponents, self.schedule = denoiser, exponents, schedule

    def forward(
        self, x: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        """Predict from the noisy x, at a time that the schedule gave; labels of None mean "no label"."""
        return self.denoiser(with_fourier_features(x, self.exponents), time, labels)  # type: ignore[no-any-return]


def with_fourier_features(x: Float[Tensor, "b c h w"], exponents: Sequence[int]) -> Float[Tensor, "b d h w"]:
    """First x, then sin(2^n pi x) and cos(2^n pi x) of all channels for each n, d = c (1 + 2 exponents) channels.

    They let a network distinguish neighbouring levels: for n = 8 a period is about one of a pixel's 256 levels.
    Computed in float32, as the phases are large.  Source: Kingma et al. 2021, section 3.4, appendix C.
    """
    x = x.float()
    phases = [2**n * math.pi * x for n in exponents]
    return torch.cat([x, *(wave(phase) for phase in phases for wave in (torch.sin, torch.cos))], dim=1)


@FAMILIES.register("vdm")
class VdmFamily(DenoisingFamily):
    """A denoising network and its noise schedule, trained together on the variational bound.

    Source: Kingma et al. 2021; Ho & Salimans 2022 (guidance).
    """

    of_training = (*DenoisingFamily.of_training, "vdm.times")
    process: Gamma

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        vdm: Annotated[Callable[[], Variational], Section(Variational)],
        **settings: Annotated[Any, SameAs(DenoisingFamily)],
    ) -> None:
        self.vdm = vdm()
        self.process = self.vdm.schedule(self.vdm.timesteps)
        inputs = channels * (1 + 2 * len(self.vdm.fourier))
        super().__init__((channels, size, size), classes, inputs, channels, **settings)
        self.networks[self.sampled] = VariationalNetwork(self.networks[self.sampled], self.vdm.fourier, self.process)
        parameterisation = self.vdm.parameterisation
        # The time is the schedule's, whatever the parameterisation.
        self.parameterisation = lambda sigma: parameterisation(sigma)._replace(time=None)
        self.bound = variational_bound
        self.most_neighbours: int | None = None

    def plain(self, network: nn.Module) -> nn.Module:
        """The denoiser if its input is the image alone, else the whole."""
        return network if self.vdm.fourier else network.denoiser  # type: ignore[return-value]

    def process_of(self, network: nn.Module) -> Gamma:
        """The network's own schedule."""
        return schedule_of(network)

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The bound, in bits per dimension, with the diffusion's part at a time drawn for each image.

        In discrete time all of the schedule learns from it; in continuous time its ends do, and its shape learns to
        lower the variance (`DiffusionTerm.lower_variance`).
        """
        # The schedule itself, not its wrapper: its gradients are averaged over ranks all the same, as they arrive.
        schedule = self.process
        step = DiffusionTerm.at(schedule, draw_times(batch.noise, batch.total, self.vdm.times))
        eps, sigma = batch.noise.normal(*self.shape, stream=TRAINING_NOISE_STREAM), step.sigma
        coefficients = self.parameterisation(sigma)
        noisy = coefficients.into * q_sample(batch.images, sigma, eps)
        time = schedule.time_at(step.gamma).float()
        labels = training_labels(batch.labels, batch.noise, classes=self.classes, dropout=self.label_dropout)
        output = networks[self.sampled](noisy, time, labels).float()
        error = (output - coefficients.target(batch.images, eps, sigma)).square().mean(dim=(1, 2, 3))
        # An error of the output, as one of the noise.
        bits = step.bits(error * (coefficients.out.flatten() / sigma).square())
        step.lower_variance(schedule, bits)
        start, end = schedule.reach(step.gamma)
        eps_0 = batch.noise.normal(*self.shape, stream=RECONSTRUCTION_STREAM)
        if self.most_neighbours is None or batch.step % STEPS_PER_READING == 0:
            # A schedule of NaN gives a loss of NaN, which the next report raises.
            self.most_neighbours = int(neighbours(start + MAX_GAMMA_RISE).nan_to_num())
        reconstruction = reconstruction_term(start, batch.images, eps_0, self.most_neighbours)
        bits = prior_term(end, batch.images) + bits + reconstruction
        yield Loss(self.sampled, bits.mean(), "bits_per_dim")
