"""A network as a denoiser of images at any noise level."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.parameterisations import Parameterisation
from gensweep.diffusion.samplers.sampler import Denoise, Denoised

__all__ = ["Predict", "denoised", "denoiser"]

#: (input of the network: Float[b c h w], time: Float[b], sigma) -> output: Float[b c-or-2c h w]
Predict = Callable[[Tensor, Tensor, float], Tensor]


def denoiser(predict: Predict, parameterisation: Parameterisation, network_time: Callable[[Tensor], Tensor]) -> Denoise:
    """A function (x, sigma) -> x_0 of a network with its labels and parameterisation; see `denoised`."""

    def denoise(x: Tensor, sigma: float) -> Denoised:
        levels = torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
        return denoised(lambda scaled, time: predict(scaled, time, sigma), parameterisation, network_time, x, levels)

    return denoise


def denoised(
    predict: Callable[[Tensor, Tensor], Tensor],
    parameterisation: Parameterisation,
    network_time: Callable[[Tensor], Tensor],
    x: Float[Tensor, "b c h w"],
    sigma: Float[Tensor, " b"],
) -> Denoised:
    """A network's prediction of x_0, clipped to [-1, 1], from images x with noise of level sigma.

    `network_time` gives the time of a level where the parameterisation leaves it to the process.  If a network has
    twice the channels of an image, the second half, from -1 to 1, is the variance between small and large.
    """
    coefficients = parameterisation(sigma)
    time = network_time(sigma) if coefficients.time is None else coefficients.time
    output = predict(coefficients.into * x, time).to(x.dtype)
    mean, variance = output[:, : x.shape[1]], output[:, x.shape[1] :]
    fraction = (variance + 1) / 2 if variance.shape[1] else None
    return Denoised(coefficients.denoised(x, mean).clamp(-1, 1), fraction)
