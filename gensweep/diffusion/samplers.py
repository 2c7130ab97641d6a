"""Samplers: from noise to images, all behind one signature.

denoise(x_t, t) gives a prediction of x_0, clipped to [-1, 1]; the parameterisation, guidance and the network are hidden
behind it.  Step i of the sampler's chain takes its noise from stream STREAM + i.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from gensweep.diffusion.process import GaussianDiffusion
from gensweep.noise import Noise
from gensweep.registry import Registry

__all__ = ["SAMPLERS", "STREAM", "Denoise", "Sampler", "ancestral", "ddim"]

#: (x_t: Float[b c h w], t: Int[b]) -> x_0: Float[b c h w]
Denoise = Callable[[Tensor, Tensor], Tensor]
#: (process, denoise, x_T, noise) -> x_0
Sampler = Callable[[GaussianDiffusion, Denoise, Tensor, Noise], Tensor]
SAMPLERS: Registry[Callable[..., Tensor]] = Registry("sampler", package="gensweep.diffusion")

STREAM = 16

Steps = Annotated[int, Field(ge=1)] | None


@SAMPLERS.register("ancestral")
def ancestral(
    process: GaussianDiffusion,
    denoise: Denoise,
    x_T: Float[Tensor, "b c h w"],
    noise: Noise,
    *,
    steps: Steps = None,
    variance: Literal["small", "large"] = "small",
) -> Float[Tensor, "b c h w"]:
    """Ancestral sampling: x_{t-1} from q(x_{t-1} | x_t, x_0), with x_0 as predicted.

    The variance is that of the posterior (small) or beta (large).  `steps` of the timesteps are visited, all if None.
    Source: Ho et al. 2020, algorithm 2 and section 3.2.
    """
    chain, times = process.respaced(steps)
    sigma = (chain.posterior_variance if variance == "small" else chain.beta).sqrt().tolist()
    x = x_T
    for i in reversed(range(chain.timesteps)):
        x_0 = denoise(x, _all(x, times[i]))
        x = chain.posterior(x_0, x, _all(x, i)).mean
        if i:
            x = x + sigma[i] * noise.normal(*x.shape[1:], stream=STREAM + i)
    return x


@SAMPLERS.register("ddim")
def ddim(
    process: GaussianDiffusion,
    denoise: Denoise,
    x_T: Float[Tensor, "b c h w"],
    noise: Noise,
    *,
    steps: Steps = None,
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0,
) -> Float[Tensor, "b c h w"]:
    """DDIM: deterministic at eta = 0, ancestral with the small variance at eta = 1.

    x_{t-1} = sqrt(a') x_0 + sqrt(1 - a' - sigma^2) eps + sigma z, with eps derived from the clipped x_0 and
    sigma = eta sqrt((1 - a') / (1 - a)) sqrt(1 - a / a'), a = alpha_bar_t, a' = alpha_bar_{t-1}.
    `steps` of the timesteps are visited, all if None.  Source: Song et al. 2021, eq. 12 and 16.
    """
    chain, times = process.respaced(steps)
    sigma = eta * chain.posterior_variance.sqrt()
    to_x0 = chain.alpha_bar_prev.sqrt().tolist()
    to_eps = (1 - chain.alpha_bar_prev - sigma.square()).clamp(min=0).sqrt().tolist()
    x = x_T
    for i in reversed(range(chain.timesteps)):
        x_0 = denoise(x, _all(x, times[i]))
        x = to_x0[i] * x_0 + to_eps[i] * chain.eps_from_x0(x, _all(x, i), x_0)
        if eta and i:
            x = x + float(sigma[i]) * noise.normal(*x.shape[1:], stream=STREAM + i)
    return x


def _all(x: Tensor, step: int | Tensor) -> Tensor:
    """One step for every image of x."""
    return torch.full((len(x),), int(step), device=x.device)
