"""What a denoiser is trained on."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from gensweep.diffusion.process import GaussianDiffusion

__all__ = ["eps_loss"]


def eps_loss(
    process: GaussianDiffusion,
    predict: Callable[[Tensor, Tensor], Tensor],
    x_0: Float[Tensor, "b c h w"],
    t: Int[Tensor, " b"],
    eps: Float[Tensor, "b c h w"],
) -> Float[Tensor, " b"]:
    """Mean squared error of the predicted noise, one value an image.

    predict(x_t, time) -> eps, where time is on the networks' scale.  Source: Ho et al. 2020, eq. 14.
    """
    x_t = process.q_sample(x_0, t, eps)
    error = predict(x_t, process.network_time(t)).float() - eps
    return error.square().mean(dim=(1, 2, 3))
