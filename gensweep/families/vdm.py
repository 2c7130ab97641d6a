"""Variational diffusion models, whose noise schedule is learnt with the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

import torch
from annotated_types import Interval
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from gensweep.diffusion.denoiser import denoised, denoiser
from gensweep.diffusion.gamma import GAMMAS, Gamma, GammaLevels, schedule_of, wide
from gensweep.diffusion.guidance import guided, scale_at, training_labels
from gensweep.diffusion.parameterisations import PARAMETERISATIONS, Coefficients, Parameterisation
from gensweep.diffusion.process import q_sample
from gensweep.diffusion.samplers.sampler import START_STREAM, Denoise, Denoised, from_noise
from gensweep.diffusion.variational import (
    DiffusionTerm,
    Drawing,
    bound,
    draw_times,
    lower_variance,
    prior_bits,
    reconstruction_bits,
)
from gensweep.families.denoising import DenoisingSettings
from gensweep.families.diffusion import TRAINING_NOISE_STREAM
from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.nn.fourier import FourierFeatures
from gensweep.noise import Noise
from gensweep.registry import Choice, SameAs, Section

__all__ = ["Variational", "VariationalNetwork", "VdmFamily", "variational"]

#: The random stream of the reconstruction term.  Taken are 0 (times), 1 (noise in training), 2 (dropped labels), 3
#: (start of samplers), 4 (times of a bound), and from 16 on the samplers' steps.
RECONSTRUCTION_STREAM = 5

Exponent: TypeAlias = Annotated[int, Interval(ge=0, le=10)]


class Variational(NamedTuple):
    """A variational diffusion model, but for its network; `timesteps` None is continuous time."""

    schedule: Gamma
    timesteps: int | None
    parameterisation: Parameterisation
    times: Drawing
    fourier: tuple[int, ...]


def variational(
    *,
    timesteps: Annotated[int, Interval(ge=1, le=100_000)] | None = None,
    schedule: Annotated[Callable[[], Gamma], Choice(GAMMAS, "monotone")],
    parameterisation: Annotated[Parameterisation, Choice(PARAMETERISATIONS, "eps")],
    times: Drawing = "antithetic",
    fourier: tuple[Exponent, ...] = (7, 8),
) -> Variational:
    """The learnt schedule, in continuous time (timesteps null) or in `timesteps` steps, and the network's input.

    `fourier` are the exponents n of the features sin(2^n pi z) and cos(2^n pi z), which are appended to the image z.
     Source: Kingma et al. 2021.
    """
    return Variational(schedule(), timesteps, parameterisation, times, fourier)


class VariationalNetwork(nn.Module):
    """A denoiser with Fourier features of its input, and the schedule that is learnt with it.

    They are one network, so they are averaged, wrapped and saved together.
    """

    def __init__(self, denoiser: nn.Module, features: FourierFeatures, schedule: Gamma) -> None:
        super().__init__()
        self.denoiser, self.features, self.schedule = denoiser, features, schedule

    def forward(
        self, x: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        """Predict from the noisy x, at a time that the schedule gave; labels of None mean "no label"."""
        return self.denoiser(self.features(x), time, labels)  # type: ignore[no-any-return]


@FAMILIES.register("vdm")
class VdmFamily:
    """A denoising network and its noise schedule, trained together on the variational bound.

    Source: Kingma et al. 2021; Ho & Salimans 2022 (guidance).
    """

    sampled = "denoiser"

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        vdm: Annotated[Callable[[], Variational], Section(variational)],
        **settings: Annotated[Any, SameAs(DenoisingSettings)],
    ) -> None:
        self.shape = (channels, size, size)
        shared = DenoisingSettings(**settings)
        self.classes = classes if shared.conditional else 0
        self.guidance, self.guidance_interval = shared.guidance, shared.guidance_interval
        self.label_dropout = shared.label_dropout
        self.sampler = shared.sampler
        self.adam = shared.optimizer()
        self.warmup, self.clip = self.adam.warmup, self.adam.clip
        self.vdm = vdm()
        features = FourierFeatures(self.vdm.fourier)
        seen = shared.network(features.channels(channels), size, self.classes, channels)
        self.networks: dict[str, nn.Module] = {self.sampled: VariationalNetwork(seen, features, self.vdm.schedule)}
        self.memories: dict[str, nn.Module] = {}
        self.process = GammaLevels(self.vdm.schedule, self.vdm.timesteps)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One, for denoiser and schedule."""
        return {self.sampled: self.adam.optimizer(self.networks[self.sampled])}

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The bound, in bits per dimension, with the diffusion's part at a time drawn for each image.

        In discrete time all of the schedule learns from it; in continuous time its ends do, and its shape learns to
        lower the variance (`lower_variance`).
        """
        # The schedule itself, not its wrapper: its gradients are averaged over ranks all the same, as they arrive.
        schedule = schedule_of(self.networks[self.sampled])
        step = DiffusionTerm.at(schedule, draw_times(batch.noise, batch.total, self.vdm.times), self.vdm.timesteps)
        eps, sigma = batch.noise.normal(*self.shape, stream=TRAINING_NOISE_STREAM), step.sigma
        coefficients = self._coefficients(sigma)
        noisy = coefficients.into * q_sample(batch.images, sigma, eps)
        time = schedule.network_time(step.gamma).float()
        labels = training_labels(batch.labels, batch.noise, classes=self.classes, dropout=self.label_dropout)
        output = networks[self.sampled](noisy, time, labels).float()
        off = (output - coefficients.target(batch.images, eps, sigma)).square().mean(dim=(1, 2, 3))
        # An error of the output, as one of the noise.
        bits = step.bits(off * (coefficients.out.flatten() / sigma).square())
        lower_variance(schedule, step, bits)
        start, end = schedule.reach(step.gamma)
        last_look = batch.noise.normal(*self.shape, stream=RECONSTRUCTION_STREAM)
        bits = prior_bits(end, batch.images) + bits + reconstruction_bits(start, batch.images, last_look)
        yield Loss(self.sampled, bits.mean(), "bits_per_dim")

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """Draw images along the levels of the network's own schedule, or the steps of it that the sampler is set to."""
        start = from_noise(noise.normal(*self.shape, stream=START_STREAM))
        levels = GammaLevels(schedule_of(network), self.vdm.timesteps)
        return self.sampler(levels, self.denoise(network, labels), start, noise)

    def denoise(self, network: nn.Module, labels: Int[Tensor, " n"] | None) -> Denoise:
        """The network as a denoiser of images with these labels, guided as set."""

        def predict(x: Tensor, time: Tensor, sigma: float) -> Tensor:
            if not self.classes or labels is None:
                return network(x, time, None)  # type: ignore[no-any-return]
            scale = scale_at(sigma, self.guidance, self.guidance_interval)
            return guided(network, x, time, labels, null=self.classes, scale=scale)

        return denoiser(predict, self._coefficients, self._time(network))

    def bits_per_dim(
        self,
        network: nn.Module,
        images: Float[Tensor, "b c h w"],
        labels: Int[Tensor, " b"] | None,
        noise: Noise,
        timesteps: int | None,
    ) -> Float64[Tensor, " b"]:
        """The bound of each image, with predictions clipped to [-1, 1] as in the samplers."""
        time, shown = self._time(network), labels if self.classes else None

        def denoise(x: Tensor, sigma: Tensor) -> Denoised:
            return denoised(lambda seen, at: network(seen, at, shown), self._coefficients, time, x, sigma)

        parts = bound(schedule_of(network), denoise, images, noise, timesteps=self.vdm.timesteps, points=timesteps)
        return parts.total

    def log_snr(self, network: nn.Module, t: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """The schedule of a network at times in [0, 1]."""
        schedule = schedule_of(network)
        device = next(network.parameters()).device
        with torch.no_grad():
            gamma: Tensor = schedule(wide(t.float().to(device))).gamma
        return -gamma.cpu().double()

    def _coefficients(self, sigma: Float[Tensor, " b"]) -> Coefficients:
        """Of what is predicted; the time is the schedule's, whatever the parameterisation."""
        return self.vdm.parameterisation(sigma)._replace(time=None)

    def _time(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        schedule = schedule_of(network)
        return lambda sigma: schedule.network_time(2 * sigma.log())
