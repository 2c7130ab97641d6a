"""The likelihood of images under a flow, by the instantaneous change of variables, in bits per dimension.

Along dz/dt = v(z, t) the density obeys d log p_t(z) / dt = -tr(dv/dz), so that log p_0(x) = log N(z_1; 0, I) + the
integral of the trace over t from 0 to 1.  Source: Chen et al. 2018, theorem 1; Grathwohl et al. 2019 (the trace).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.diffusion.likelihood import BOUND_NOISE_STREAM, HALF_PIXEL_STEP
from gensweep.diffusion.samplers.sampler import DEFAULT_SAMPLING_STEPS
from gensweep.noise import Noise

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
