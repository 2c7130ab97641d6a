"""What a denoiser is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from gensweep.diffusion.levels import Drawn
from gensweep.diffusion.parameterisations import Coefficients
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.registry import Registry

__all__ = ["LOSSES", "DiffusionLoss", "MinSnr", "Prediction", "Simple"]


@dataclass(frozen=True)
class Prediction:
    """A network's output on x_0 + sigma eps, and all that is needed to judge it.

    `output` is float32, with twice the channels of x_0 if the variance is learnt too.
    """

    process: GaussianDiffusion
    coefficients: Coefficients
    x_0: Float[Tensor, "b c h w"]
    eps: Float[Tensor, "b c h w"]
    drawn: Drawn
    output: Float[Tensor, "b _ h w"]

    @property
    def mean(self) -> Float[Tensor, "b c h w"]:
        """The part of the output that stands for the image."""
        return self.output[:, : self.x_0.shape[1]]

    @property
    def fraction(self) -> Float[Tensor, "b c h w"]:
        """Where the variance lies between the logarithms of small (0) and large (1)."""
        return (self.output[:, self.x_0.shape[1] :] + 1) / 2

    @property
    def error(self) -> Float[Tensor, " b"]:
        """Mean squared error of what the network predicts, one value an image."""
        target = self.coefficients.target(self.x_0, self.eps, self.drawn.sigma)
        return (self.mean - target).square().mean(dim=(1, 2, 3))


class DiffusionLoss(Protocol):
    """Loss of each image; `learns_variance` asks the network for twice the channels."""

    learns_variance: ClassVar[bool]

    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""
        ...


#: Items are classes with settings keyword-only.
LOSSES: Registry[Callable[..., DiffusionLoss]] = Registry("diffusion loss", package="gensweep.diffusion")


@LOSSES.register("simple")
class Simple:
    """Mean squared error of whatever the network predicts; with `edm` that is Karras's weighting.

    Source: Ho et al. 2020, eq. 14; Karras et al. 2022, eq. 8, whose weight makes up for c_out.
    """

    learns_variance: ClassVar[bool] = False

    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""
        return prediction.error


@LOSSES.register("min_snr")
class MinSnr:
    """Error of the image, weighted by the signal-to-noise ratio up to gamma.

    min(SNR, gamma) |x_0 - x_0_hat|^2, which is min(SNR, gamma)/SNR on eps and min(SNR, gamma)/(SNR + 1) on v.
    Source: Hang et al. 2023, section 3.4.
    """

    learns_variance: ClassVar[bool] = False

    def __init__(self, *, gamma: Annotated[float, Field(gt=0)] = 5.0) -> None:
        self.gamma = gamma

    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""
        snr = prediction.drawn.sigma.pow(-2)
        return snr.clamp(max=self.gamma) * prediction.coefficients.out.flatten().square() * prediction.error
