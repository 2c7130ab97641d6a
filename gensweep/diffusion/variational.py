"""Variational diffusion: the bound on -log2 p(image) of a process in continuous or discrete time, and its terms.

The bound is the sum of the prior's part, KL(q(z_1 | x) || N(0, I)); the diffusion's, the error of
the predicted noise at every level between; and the reconstruction's, -log p(x | z_0).  All are in bits per dimension.
Source: Kingma et al. 2021, section 3.5.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gensweep.diffusion.gamma import Gamma, wide
from gensweep.diffusion.levels import UNIFORM_CELL
from gensweep.diffusion.likelihood import BOUND_NOISE_STREAM, BOUND_TIMESTEP_STREAM, HALF_PIXEL_STEP, Bound, DenoiseAt
from gensweep.diffusion.process import q_sample
from gensweep.diffusion.samplers.sampler import DEFAULT_SAMPLING_STEPS
from gensweep.noise import Noise

#: Pixel values are numbered from 0 to this.
MAX_PIXEL_LEVEL = 255
#: Pixel values that are further away than this number of standard deviations of the noise are left out.
MAX_DEVIATIONS = 16.0


class DiffusionTerm(NamedTuple):
    """Levels, and the weight of an error in the noise there: weight |eps - eps_hat|^2, in nats.

    `inner` are the tensors that depend on the schedule's shape in continuous time; see `lower_variance`.
    """

    gamma: Float[Tensor, " b"]
    weight: Float[Tensor, " b"]
    inner: tuple[Float[Tensor, " b"], ...] = ()

    @classmethod
    def at(cls, schedule: Gamma, u: Float[Tensor, " b"]) -> DiffusionTerm:
        """The levels of times in [0, 1).

        In continuous time the weight is gamma'(t)/2.  In discrete time t is the end and s the beginning of the step
        that contains u, and the weight is timesteps/2 (exp(gamma_t - gamma_s) - 1).  Source: Kingma et al. 2021,
        sections 4 and 5.
        """
        timesteps = schedule.timesteps
        if timesteps is None:
            values = schedule(u)
            return cls(values.gamma, values.slope / 2, values.inner)
        begin = (u * timesteps).floor().clamp(0, timesteps - 1)
        before, after = schedule(torch.cat([begin, begin + 1]) / timesteps).gamma.chunk(2)
        return cls(after, timesteps * torch.expm1(after - before) / 2)

    @property
    def sigma(self) -> Float[Tensor, " b"]:
        """The noise's standard deviation, relative to the image, float32."""
        return (self.gamma / 2).exp().float()

    def bits(self, error: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The diffusion's part of the bound, estimated from a mean squared error of the noise at these levels."""
        return self.weight * wide(error) / math.log(2)

    def lower_variance(self, schedule: Gamma, bits: Float[Tensor, " b"]) -> None:
        """Make the shape of a schedule in continuous time learn to lower the variance of the loss, not the loss.

        Between fixed ends the expected loss L does not depend on the shape, so L's own gradient for it would be all
        noise; but the variance E[l^2] - L^2 of the loss l of one image at one time does.  Its gradient, E[2 l dl],
        comes with the same backward pass: on its way to the shape, an image's dl is multiplied by l.  Here by l / L_0,
        where L_0 is the loss of a network that predicts nothing, so that it is about as large as the gradient of the
        loss: both are clipped together.  The ends get the gradient of the loss itself.
        Source: Kingma et al. 2021, section 5 and appendix I.
        """
        start, end = schedule.reach(self.gamma)
        share = (bits * (2 * math.log(2)) / (end - start)).detach()
        for tensor in self.inner:
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient: gradient * share)  # type: ignore[no-untyped-call]


def prior_term(gamma: Float[Tensor, ""], x_0: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """KL(q(z_1 | x_0) || N(0, I)) for gamma at t = 1: the information left of the image at the highest noise level."""
    alpha_bar = torch.sigmoid(-gamma)
    squares = wide(x_0.float().square().mean(dim=(1, 2, 3)))
    return (alpha_bar * (squares - 1) + F.softplus(-gamma)) / (2 * math.log(2))


def neighbours(gamma: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """How many levels on either side of a pixel's own are within MAX_DEVIATIONS of it, for gamma at t = 0."""
    return (MAX_DEVIATIONS / _step_in_deviations(gamma)).ceil().clamp(max=MAX_PIXEL_LEVEL)


def _step_in_deviations(gamma: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The distance of two levels, in standard deviations of the noise."""
    return 2 * HALF_PIXEL_STEP * (-gamma.detach() / 2).exp()


def reconstruction_term(
    gamma: Float[Tensor, ""],
    x_0: Float[Tensor, "b c h w"],
    eps: Float[Tensor, "b c h w"],
    most_neighbours: int | None = None,
) -> Float[Tensor, " b"]:
    """-log2 p(x_0 | z_0), for gamma at t = 0 and x_0 of 256 levels, 2 level / 255 - 1, that eps has been added to.

    A pixel's p is proportional to q(z_0 | x_0) over its 256 levels.  It can be differentiated by gamma, once.  A number
    that `neighbours` does not exceed saves the caller from asking for it, which would make a GPU wait; the values are
    the same.  Source: Kingma et al. 2021, section 3.3.
    """
    # Levels k away from the right one are as likely as exp(-(k r)^2 / 2 - k r eps) to 1, so only a few neighbours
    # count, unless the noise is great.
    r, reach = _step_in_deviations(gamma), neighbours(gamma)
    level = ((x_0 + 1) * (MAX_PIXEL_LEVEL / 2)).round()
    others, slope = torch.zeros_like(eps), torch.zeros_like(eps)
    for distance in range(1, (int(reach) if most_neighbours is None else most_neighbours) + 1):
        near = reach >= distance
        for k, there in ((distance, level >= distance), (-distance, level <= MAX_PIXEL_LEVEL - distance)):
            odds = torch.where(there & near, (-0.5 * (k * r) ** 2 - k * r * eps).exp(), 0.0)
            others += odds
            slope -= odds * (k**2 * r + k * eps)
    bits = wide(torch.log1p(others).mean(dim=(1, 2, 3))) / math.log(2)
    # By hand, as autograd would keep two images for every neighbour.
    by_r = wide((slope / (1 + others)).mean(dim=(1, 2, 3))) / math.log(2)
    return bits - r / 2 * by_r * (gamma - gamma.detach())


def variational_bound(
    schedule: Gamma, denoise: DenoiseAt, x_0: Float[Tensor, "b c h w"], noise: Noise, *, points: int | None = None
) -> Bound:
    """The variational bound of images with 256 levels, x = 2 level / 255 - 1.

    The diffusion's part is estimated at `points` times per image, one in each of `points` equal parts of (0, 1),
    without bias; None uses every step in discrete time, and 1000 points in continuous time.  An image's numbers depend
    only on its `noise`.
    """
    timesteps = schedule.timesteps
    count = points or timesteps or DEFAULT_SAMPLING_STEPS
    count = count if timesteps is None else min(count, timesteps)
    edges = torch.linspace(0, 1, count + 1, dtype=torch.float64)
    if timesteps is not None:
        edges = (edges * timesteps).round() / timesteps
    u = wide(noise.uniform(count, stream=BOUND_TIMESTEP_STREAM)) + UNIFORM_CELL / 2
    start, end = schedule.reach(u)
    diffusion = torch.zeros_like(u[:, 0])
    for part, (low, high) in enumerate(zip(edges.tolist(), edges[1:].tolist(), strict=False)):
        step = DiffusionTerm.at(schedule, low + u[:, part] * (high - low))
        sigma = step.sigma
        x = q_sample(x_0, sigma, noise.normal(*x_0.shape[1:], stream=BOUND_NOISE_STREAM + 1 + part))
        error = wide((denoise(x, sigma) - x_0).square().mean(dim=(1, 2, 3))) * (-step.gamma).exp()
        diffusion += (high - low) * step.bits(error)
    eps = noise.normal(*x_0.shape[1:], stream=BOUND_NOISE_STREAM)
    return Bound(prior_term(end, x_0), diffusion, reconstruction_term(start, x_0, eps))
