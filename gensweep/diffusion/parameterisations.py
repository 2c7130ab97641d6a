"""Prediction types of a network: noise, image, a mixture of both, or Karras's preconditioning.

Each turns a network F into a denoiser: D(x; sigma) = skip x + out F(into x; time), where x = x_0 + sigma eps.
Source: Karras et al. 2022, eq. 7 and table 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from annotated_types import Interval, doc
from jaxtyping import Float
from torch import Tensor

from gensweep.registry import Registry

#: Networks get times in 0 <= t < this.
NETWORK_TIMES = 1000.0
#: The largest float32 below that.
MAX_NETWORK_TIME = NETWORK_TIMES * (1 - 2**-24)


class Coefficients(NamedTuple):
    """Of D(x; sigma) = skip x + out F(into x; time); `time` is None where the process gives it."""

    skip: Float[Tensor, "b 1 1 1"]
    out: Float[Tensor, "b 1 1 1"]
    into: Float[Tensor, "b 1 1 1"]
    time: Float[Tensor, " b"] | None = None

    def target(
        self, x_0: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]
    ) -> Float[Tensor, "b c h w"]:
        """The output that denoises x_0 + sigma eps to x_0."""
        return (1 - self.skip) / self.out * x_0 - self.skip * _image(sigma) / self.out * eps


#: (sigma: Float[b]) -> coefficients
Parameterisation = Callable[[Tensor], Coefficients]
PARAMETERISATIONS: Registry[Callable[..., Coefficients]] = Registry("parameterisation", package="gensweep.diffusion")


def denoised(
    predict: Callable[[Tensor, Tensor], Tensor],
    parameterisation: Parameterisation,
    network_time: Callable[[Tensor], Tensor],
    x: Float[Tensor, "b c h w"],
    sigma: Float[Tensor, " b"],
) -> Float[Tensor, "b c h w"]:
    """A network's prediction of x_0, clipped to [-1, 1], from images x with noise of level sigma.

    `network_time` gives the time of a level where the parameterisation leaves it to the process.
    """
    coefficients = parameterisation(sigma)
    time = network_time(sigma) if coefficients.time is None else coefficients.time
    output = predict(coefficients.into * x, time).to(x.dtype)
    return (coefficients.skip * x + coefficients.out * output).clamp(-1, 1)


@PARAMETERISATIONS.register("eps")
def eps(sigma: Float[Tensor, " b"]) -> Coefficients:
    """The noise.  Source: Ho et al. 2020, section 3.2."""
    s = _image(sigma)
    return Coefficients(torch.ones_like(s), -s, _unit(s))


@PARAMETERISATIONS.register("x0")
def x0(sigma: Float[Tensor, " b"]) -> Coefficients:
    """The image itself."""
    s = _image(sigma)
    return Coefficients(torch.zeros_like(s), torch.ones_like(s), _unit(s))


@PARAMETERISATIONS.register("v")
def v(sigma: Float[Tensor, " b"]) -> Coefficients:
    """V = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0, of equal size at all levels.

    Source: Salimans & Ho 2022, section 4 and appendix D.
    """
    s = _image(sigma)
    unit = _unit(s)
    return Coefficients(unit.square(), -s * unit, unit)


@PARAMETERISATIONS.register("velocity")
def velocity(sigma: Float[Tensor, " b"]) -> Coefficients:
    """Eps - x_0, the velocity of the straight path (1 - t) x_0 + t eps, on which sigma = t / (1 - t).

    Source: Lipman et al. 2023, section 4.1; Esser et al. 2024, eq. 13.
    """
    s = _image(sigma)
    return Coefficients(1 / (1 + s), -s / (1 + s), 1 / (1 + s))


@PARAMETERISATIONS.register("edm")
def edm(
    sigma: Float[Tensor, " b"],
    *,
    sigma_data: Annotated[float, Interval(gt=0, le=10), doc("standard deviation of the images' values")] = 0.5,
    sigma_min: Annotated[float, Interval(gt=0, le=1), doc("noise level at which the network's time is 0")] = 0.002,
    sigma_max: Annotated[float, Interval(gt=1, le=1000), doc("noise level at which the network's time is 1000")] = 80.0,
) -> Coefficients:
    """Inputs, outputs and errors of unit variance at every level, for images of standard deviation sigma_data.

    skip = sd^2/(s^2 + sd^2), out = s sd/sqrt(s^2 + sd^2), into = 1/sqrt(s^2 + sd^2).  The network's time is
    ln(s)/4, scaled to run from 0 at sigma_min to 1000 at sigma_max.
    Source: Karras et al. 2022, table 1.
    """
    s = _image(sigma)
    total = (s.square() + sigma_data**2).rsqrt()
    low, high = math.log(sigma_min) / 4, math.log(sigma_max) / 4
    time = (sigma.log() / 4 - low) * (NETWORK_TIMES / (high - low))
    return Coefficients((sigma_data * total).square(), s * sigma_data * total, total, time.clamp(0, MAX_NETWORK_TIME))


def _image(sigma: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1 1"]:
    """Ready to be multiplied with images."""
    return sigma.view(-1, 1, 1, 1)


def _unit(s: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 1 1 1"]:
    """sqrt(alpha_bar), which brings noisy images of variance 1 + sigma^2 back to 1."""
    return (1 + s.square()).rsqrt()
