"""The variational bound on the likelihood of images under a diffusion model, in bits per dimension.

-log2 p(x_0) is at most the sum of three parts: the prior's, KL(q(x_T | x_0) || N(0, I)); one of every step after the
first, KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)); and the decoder's, -log p(x_0 | x_1) of the 256 levels of a pixel.
Source: Ho et al. 2020, eq. 5 and 13; Nichol & Dhariwal 2021, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from gensweep.diffusion.process import GaussianDiffusion, q_sample
from gensweep.diffusion.samplers.sampler import DEFAULT_SAMPLING_STEPS
from gensweep.noise import Noise

#: Random stream of the timesteps of a bound.
BOUND_TIMESTEP_STREAM = 4
#: First random stream of the noise at these timesteps, after all samplers' streams.
BOUND_NOISE_STREAM = 2**31
#: Half the distance of two of the 256 pixel values in -1 .. 1.
HALF_PIXEL_STEP = 1 / 255
#: A pixel beyond +-this has the first or the last of the 256 values, whose bin is open to the outside.
OUTERMOST_PIXEL = 0.999
#: The standard deviation of images, roughly.  Timesteps are grouped by it; the estimate stays unbiased.
TYPICAL_DATA_STD = 0.5

#: (x = x_0 + sigma eps, sigma: Float[b]) -> the predicted image.
DenoiseAt = Callable[[Tensor, Tensor], Tensor]


class Bound(NamedTuple):
    """The three parts of the bound of each image, in bits per dimension."""

    prior: Float64[Tensor, " b"]
    steps: Float64[Tensor, " b"]
    decoder: Float64[Tensor, " b"]

    @property
    def total(self) -> Float64[Tensor, " b"]:
        """At least -log2 p(image) per dimension."""
        return self.prior + self.steps + self.decoder


def bound(
    process: GaussianDiffusion,
    denoise: DenoiseAt,
    x_0: Float[Tensor, "b c h w"],
    noise: Noise,
    *,
    points: int | None = None,
) -> Bound:
    """The variational bound of images with 256 levels, x = 2 level / 255 - 1.

    Prior and decoder (t = 0) are computed for every image, the steps between them from one timestep in each of
    `points` groups, which leaves no bias; None takes every one.  An image's numbers depend on its `noise` alone.
    """

    def predict(t: Int[Tensor, " b"], stream: int) -> Float64[Tensor, "b c h w"]:
        sigma = process.sigma_at(t)
        return _wide(denoise(q_sample(x_0, sigma, noise.normal(*x_0.shape[1:], stream=stream)), sigma))

    wide, first = _wide(x_0), torch.zeros(len(x_0), dtype=torch.int64, device=x_0.device)
    decoder = decoder_bits(process, wide, predict(first, BOUND_NOISE_STREAM))
    edges = strata(process, points)
    sizes, u = edges.diff(), noise.uniform(len(edges) - 1, stream=BOUND_TIMESTEP_STREAM)
    steps = torch.zeros_like(decoder)
    for group, (start, size) in enumerate(zip(edges.tolist(), sizes.tolist(), strict=False)):
        t = start + (u[:, group] * size).long().clamp(max=size - 1)
        steps += size * step_bits(process, wide, t.to(wide.device), predict(t, BOUND_NOISE_STREAM + 1 + group))
    return Bound(prior_bits(process, wide), steps, decoder)


def strata(process: GaussianDiffusion, count: int | None) -> Int64[Tensor, " edges"]:
    """Where `count` groups of neighbouring timesteps begin, and where the last ends: from 1 to the number of timesteps.

    Each has about the same part of the bound for Gaussian images.  So groups are small near t = 1, where a step counts
    most, which keeps the variance of an estimate low.
    """
    number = process.timesteps - 1
    count = number if count is None else min(count, number)
    if not count:
        return torch.ones(1, dtype=torch.int64)
    snr = process.sigma.pow(-2)
    error = TYPICAL_DATA_STD**2 / (1 + TYPICAL_DATA_STD**2 * snr[1:])
    weights = (snr[:-1] - snr[1:]) * error
    k = torch.arange(1, count)
    ends = torch.searchsorted(weights.cumsum(0) / weights.sum(), k / count, right=True)
    # At least one timestep in each group.
    ends = k + (ends - k).clamp(0, number - count).cummax(0).values
    return 1 + torch.cat([torch.zeros(1, dtype=torch.int64), ends, torch.tensor([number])])


def prior_bits(process: GaussianDiffusion, x_0: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """KL(q(x_T | x_0) || N(0, I)): the information left of the image at the highest noise level."""
    alpha_bar = float(process.alpha_bar[-1])
    squares = x_0.square().mean(dim=(1, 2, 3))
    return (alpha_bar * (squares - 1) - math.log1p(-alpha_bar)) / (2 * math.log(2))


def step_bits(
    process: GaussianDiffusion, x_0: Float[Tensor, "b c h w"], t: Int[Tensor, " b"], predicted: Float[Tensor, "b c h w"]
) -> Float[Tensor, " b"]:
    """KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) for t >= 1, where p is the posterior of the predicted image."""
    difference = process.at("posterior_x0", t, x_0) * (x_0 - predicted)
    nats = difference.square() * (-process.at("posterior_log_variance", t, x_0)).exp() / 2
    return nats.mean(dim=(1, 2, 3)) / math.log(2)


def decoder_bits(
    process: GaussianDiffusion, x_0: Float[Tensor, "b c h w"], predicted: Float[Tensor, "b c h w"]
) -> Float[Tensor, " b"]:
    """-log p(x_0 | x_1): the probability of a pixel's level is that of the interval around it, open at the ends.

    The variance is beta.  That of the posterior is 0 here, and with that of the next step, the usual substitute, the
    bound would grow without limit with the number of steps.
    """
    first = torch.zeros(len(x_0), dtype=torch.int64, device=x_0.device)
    precision = (-0.5 * process.at("log_beta", first, x_0)).exp()
    return -log_p_of_level(x_0, predicted, precision).mean(dim=(1, 2, 3)) / math.log(2)


def log_p_of_level(
    x: Float[Tensor, "b c h w"], mean: Float[Tensor, "b c h w"], precision: Float[Tensor, "..."]
) -> Float[Tensor, "b c h w"]:
    """The log-probability of a pixel's level under a Gaussian, in nats: that of an interval, open at the ends.

    `precision` is one over the standard deviation.
    """
    # By symmetry use the interval below the mean: a difference of probabilities near 1 would lose digits.
    distance, half = (x - mean) * precision, HALF_PIXEL_STEP * precision
    outermost = x.abs() > OUTERMOST_PIXEL
    distance = torch.where(outermost, distance * x.sign(), distance.abs())
    near: Tensor = torch.special.log_ndtr(half - distance)
    far: Tensor = torch.special.log_ndtr(-half - distance).masked_fill(outermost, -math.inf)
    return near + (-torch.expm1(far - near)).log()


def _wide(x: Float[Tensor, "b c h w"]) -> Float64[Tensor, "b c h w"]:
    """In double precision, on the CPU where the device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


#: The random stream of the noise that makes continuous values of the 256 levels of a pixel.
DEQUANTISATION_STREAM = 6
#: Steps lie evenly in t^(1/this): the trace is large near the image, about one over t.
TIME_WARP = 4.0

#: (z, t: Float[b]) -> dz/dt, of which gradients by z can be taken.
Velocity = Callable[[Tensor, Tensor], Tensor]


def flow_bits(
    velocity: Velocity, x_0: Float[Tensor, "b c h w"], noise: Noise, *, points: int | None = None
) -> Float64[Tensor, " b"]:
    """Bits per dimension of images with 256 levels, x = 2 level / 255 - 1, on average at least -log2 P(image).

    log p(x) = log N(z_1; 0, I) + the integral of tr(dv/dz) over t in [0, 1] (Chen et al. 2018, theorem 1).
    Each value is moved by uniform noise within its level, which makes a bound of the density.  The equation is solved
    by the midpoint method in `points` steps (None: 1000), which leaves a bias of second order.  The trace is estimated
    in the middle of each step by one fresh probe, without a bias.  An image's number depends on its `noise` alone.
    Source: Theis et al. 2016, section 3.1 (uniform noise).
    """
    shape, dimensions = x_0.shape[1:], math.prod(x_0.shape[1:])
    z = x_0 + HALF_PIXEL_STEP * (2 * noise.uniform(*shape, stream=DEQUANTISATION_STREAM) - 1)
    log_volume = torch.zeros(len(x_0), dtype=torch.float64)
    edges = torch.linspace(0, 1, (points or DEFAULT_SAMPLING_STEPS) + 1, dtype=torch.float64) ** TIME_WARP
    for step, (now, after) in enumerate(zip(edges.tolist(), edges[1:].tolist(), strict=False)):
        length = after - now
        halfway = z + length / 2 * velocity(z, z.new_full((len(z),), now))
        probe = 1 - 2 * (noise.uniform(*shape, stream=BOUND_NOISE_STREAM + step) < 0.5).to(z.dtype)
        slope, trace = with_trace(velocity, halfway, z.new_full((len(z),), now + length / 2), probe)
        z = z + length * slope
        log_volume += length * trace.cpu().double()
    log_prior = -z.cpu().double().square().sum(dim=(1, 2, 3)) / 2 - dimensions / 2 * math.log(2 * math.pi)
    return -(log_prior + log_volume) / (dimensions * math.log(2)) - math.log2(2 * HALF_PIXEL_STEP)


def with_trace(
    velocity: Velocity, z: Float[Tensor, "b c h w"], t: Float[Tensor, " b"], probe: Float[Tensor, "b c h w"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, " b"]]:
    """The velocity, and an estimate probe^T (dv/dz) probe of the trace; without a bias for probes of covariance I.

    Signs as probes have the least variance, and none if dv/dz is diagonal.  Source: Hutchinson 1990.
    """
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        slope = velocity(leaf, t)
        (product,) = torch.autograd.grad(slope, leaf, probe)
    return slope.detach(), (product * probe).sum(dim=(1, 2, 3))
