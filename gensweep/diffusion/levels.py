"""The noise levels that a network is trained at, and how its errors count there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

from annotated_types import Gt, Interval, doc
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.diffusion.gamma import wide
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.noise import Noise
from gensweep.registry import Registry

#: The random stream of the training levels.
TIMESTEP_STREAM = 0
#: Uniform random numbers are multiples of this; half of it is added, which makes their mean 1/2.
UNIFORM_CELL = 2.0**-24
#: Levels are e to the power of this at most, and of its negative at least, whose squares single precision can hold.
MAX_LOG_SIGMA = 20.0

Drawing: TypeAlias = Literal["antithetic", "independent"]
HOW_TIMES_ARE_DRAWN = doc(
    "independent: each image's by itself; antithetic: evenly spread over each batch (Kingma et al. 2021, appendix I)"
)


#: Items take (process, noise, total) and settings keyword-only, and give a level for each sample of the noise: a
#: position in the training stream.  `total` is the number of images in a batch over all workers; a batch begins at each
#: multiple of it.
TRAINING_LEVELS: Registry[Callable[..., Tensor]] = Registry("distribution of levels", package="gensweep.diffusion")
TrainingLevels: TypeAlias = Callable[[GaussianDiffusion, Noise, int], Tensor]


@TRAINING_LEVELS.register("uniform")
def uniform(process: GaussianDiffusion, noise: Noise, total: int) -> Float[Tensor, " b"]:
    """Every timestep equally often.  Source: Ho et al. 2020, algorithm 1."""
    return process.sigma_at(noise.integers(process.timesteps, stream=TIMESTEP_STREAM))


@TRAINING_LEVELS.register("antithetic")
def antithetic(process: GaussianDiffusion, noise: Noise, total: int) -> Float[Tensor, " b"]:
    """Every timestep equally often, evenly spread over each batch, which lowers the variance of the batch's mean.

    t = (u + i/B) mod 1 for image i of a batch of B, with one uniform u for all, on whatever worker.
    Source: Kingma et al. 2021, appendix I.
    """
    u, position = _antithetic(noise, total)
    time = (u + position / total) % 1
    return process.sigma_at((time * process.timesteps).long().clamp(max=process.timesteps - 1))


@TRAINING_LEVELS.register("lognormal")
def lognormal(
    process: GaussianDiffusion,
    noise: Noise,
    total: int,
    *,
    mean: Annotated[float, Interval(ge=-10, le=10), doc("mean of ln sigma, P_mean")] = -1.2,
    std: Annotated[float, Interval(gt=0, le=10), doc("standard deviation of ln sigma, P_std")] = 1.2,
) -> Float[Tensor, " b"]:
    """Levels between the timesteps: ln sigma ~ N(mean, std^2).  Source: Karras et al. 2022, table 1."""
    log_sigma = mean + std * noise.normal(stream=TIMESTEP_STREAM)
    return log_sigma.clamp(-MAX_LOG_SIGMA, MAX_LOG_SIGMA).exp()


#: Items take (error, sigma, out) and settings keyword-only, and give the loss of each image.  `error` is the mean
#: squared error of the network's output, and `out` the parameterisation's factor of that output in x_0.
LOSSES: Registry[Callable[..., Tensor]] = Registry("diffusion loss", package="gensweep.diffusion")
DiffusionLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


@LOSSES.register("simple")
def simple(error: Float[Tensor, " b"], sigma: Float[Tensor, " b"], out: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Mean squared error of whatever the network predicts; with `edm` that is Karras's weighting.

    Source: Ho et al. 2020, eq. 14; Karras et al. 2022, eq. 8, whose weight makes up for c_out.
    """
    return error


@LOSSES.register("min_snr")
def min_snr(
    error: Float[Tensor, " b"],
    sigma: Float[Tensor, " b"],
    out: Float[Tensor, " b"],
    *,
    gamma: Annotated[float, Gt(0), doc("largest weight")] = 5.0,
) -> Float[Tensor, " b"]:
    """Error of the image, weighted by the signal-to-noise ratio up to gamma.

    min(SNR, gamma) |x_0 - x_0_hat|^2, which is min(SNR, gamma)/SNR on eps and min(SNR, gamma)/(SNR + 1) on v.
    Source: Hang et al. 2023, section 3.4.
    """
    return sigma.pow(-2).clamp(max=gamma) * out.square() * error


def draw_times(noise: Noise, total: int, drawing: Drawing) -> Float[Tensor, " b"]:
    """Times between 0 and 1, in continuous time, for the samples, which are positions in the training stream.

    Antithetic ones are evenly spread over each batch of `total`: t = (u + i/B) mod 1 for image i of B, with one u for
    all, on whatever worker; it lowers the variance of the batch's mean.  Source: Kingma et al. 2021, appendix I.
    """
    if drawing == "independent":
        return wide(noise.uniform(stream=TIMESTEP_STREAM)) + UNIFORM_CELL / 2
    u, position = _antithetic(noise, total)
    return (wide(u) + UNIFORM_CELL / 2 + wide(position.float()) / total) % 1


def _antithetic(noise: Noise, total: int) -> tuple[Float[Tensor, " 1"], Int[Tensor, " b"]]:
    """One uniform number for all images of a batch, on whatever worker, and the position of each in the batch."""
    position = noise.samples % total
    return Noise(noise.key, (noise.samples - position)[:1]).uniform(stream=TIMESTEP_STREAM), position
