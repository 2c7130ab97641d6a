"""A network as a denoiser of images at any noise level."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.parameterisations import Parameterisation
from gensweep.diffusion.samplers.sampler import Denoise, Denoised

__all__ = ["Predict", "denoised", "denoiser"]

#: (what the network sees: Float[b c h w], time: Float[b], sigma) -> output: Float[b c-or-2c h w]
Predict = Callable[[Tensor, Tensor, float], Tensor]


def denoiser(predict: Predict, parameterisation: Parameterisation, network_time: Callable[[Tensor], Tensor]) -> Denoise:
    """Hide network, labels and parameterisation behind (x, sigma) -> x_0; see `denoised`."""

    def denoise(x: Tensor, sigma: float) -> Denoised:
        levels = torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
        return denoised(lambda seen, time: predict(seen, time, sigma), parameterisation, network_time, x, levels)

    return denoise


def denoised(
    predict: Callable[[Tensor, Tensor], Tensor],
    parameterisation: Parameterisation,
    network_time: Callable[[Tensor], Tensor],
    x: Float[Tensor, "b c h w"],
    sigma: Float[Tensor, " b"],
) -> Denoised:
    """What a network sees in images x that have noise of level sigma on them; x_0 is clipped to [-1, 1].

    `network_time` gives the time of levels where the parameterisation leaves it to the process.  A network with twice
    the channels of an image says in the second half, from -1 to 1, where the variance lies.
    """
    coefficients = parameterisation(sigma)
    time = network_time(sigma) if coefficients.time is None else coefficients.time
    output = predict(coefficients.into * x, time).to(x.dtype)
    mean, variance = output[:, : x.shape[1]], output[:, x.shape[1] :]
    fraction = (variance + 1) / 2 if variance.shape[1] else None
    return Denoised(coefficients.denoised(x, mean).clamp(-1, 1), fraction)
