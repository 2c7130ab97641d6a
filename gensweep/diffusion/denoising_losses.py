"""Losses of denoisers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, doc
from jaxtyping import Float
from torch import Tensor

from gensweep.diffusion.gamma import wide
from gensweep.diffusion.levels import DrawnLevels
from gensweep.diffusion.likelihood import term_bits
from gensweep.diffusion.parameterisations import Coefficients
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.samplers.sampler import Denoised
from gensweep.registry import Registry


@dataclass(frozen=True)
class Prediction:
    """A network's output for x_0 + sigma eps, and all that its loss is computed from.

    `output` is float32, with twice the channels of x_0 if the variance is learnt too.
    """

    process: GaussianDiffusion
    coefficients: Coefficients
    x_0: Float[Tensor, "b c h w"]
    eps: Float[Tensor, "b c h w"]
    drawn: DrawnLevels
    output: Float[Tensor, "b _ h w"]

    @property
    def off(self) -> Float[Tensor, "b c h w"]:
        """The output's difference from its target."""
        return self.output[:, : self.x_0.shape[1]] - self.coefficients.target(self.x_0, self.eps, self.drawn.sigma)

    @property
    def error(self) -> Float[Tensor, " b"]:
        """Mean squared error of what the network predicts, one value an image."""
        return self.off.square().mean(dim=(1, 2, 3))

    @property
    def denoised(self) -> Denoised:
        """The predicted image, not clipped, and the learnt variance: 0 is small and 1 large, in their logarithms."""
        fraction = (self.output[:, self.x_0.shape[1] :] + 1) / 2
        return Denoised(self.x_0 + self.coefficients.out * self.off, fraction)


class DiffusionLoss(ABC):
    """Loss of each image.

    `learns_variance` needs a network with twice the channels, and levels that are timesteps: it is that of a step.
    """

    learns_variance: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""


#: Items are classes with settings keyword-only.
LOSSES: Registry[Callable[..., DiffusionLoss]] = Registry("diffusion loss", package="gensweep.diffusion")


@LOSSES.register("simple")
class Simple(DiffusionLoss):
    """Mean squared error of whatever the network predicts; with `edm` that is Karras's weighting.

    Source: Ho et al. 2020, eq. 14; Karras et al. 2022, eq. 8, whose weight makes up for c_out.
    """

    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""
        return prediction.error


@LOSSES.register("min_snr")
class MinSnr(DiffusionLoss):
    """Error of the image, weighted by the signal-to-noise ratio up to gamma.

    min(SNR, gamma) |x_0 - x_0_hat|^2, which is min(SNR, gamma)/SNR on eps and min(SNR, gamma)/(SNR + 1) on v.
    Source: Hang et al. 2023, section 3.4.
    """

    def __init__(self, *, gamma: Annotated[float, Gt(0), doc("largest weight")] = 5.0) -> None:
        self.gamma = gamma

    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""
        snr = prediction.drawn.sigma.pow(-2)
        return snr.clamp(max=self.gamma) * prediction.coefficients.out.flatten().square() * prediction.error


@LOSSES.register("vlb")
class Vlb(DiffusionLoss):
    """The variational bound, of which the drawn timestep gives one term, with a learnt variance.

    In bits per dimension of the whole bound: timesteps times the term, but without the prior's, which no network
    changes.  Source: Nichol & Dhariwal 2021, section 3.1.
    """

    learns_variance = True

    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""
        process, t = prediction.process, prediction.drawn.t
        assert t is not None, "a formulation has no loss that learns a variance where there are no timesteps"
        # In single precision the gradient of a logarithm of a normal distribution is wrong far out, or not a number.
        x_0, fraction = prediction.denoised
        denoised = Denoised(wide(x_0), None if fraction is None else wide(fraction))
        return process.timesteps * term_bits(process, wide(prediction.x_0), t, denoised).float()


@LOSSES.register("hybrid")
class Hybrid(DiffusionLoss):
    """The simple loss, which teaches the mean, and the variational bound, which teaches the variance alone.

    simple + weight vlb, without a gradient of the latter for the mean.  Source: Nichol & Dhariwal 2021, eq. 16.
    """

    learns_variance = True

    def __init__(self, *, weight: Annotated[float, Gt(0), doc("of the variational bound, lambda")] = 0.001) -> None:
        self.weight = weight
        self.vlb = Vlb()

    def __call__(self, prediction: Prediction) -> Float[Tensor, " b"]:
        """One value an image."""
        mean, variance = torch.split(prediction.output, prediction.x_0.shape[1], dim=1)
        for_variance = replace(prediction, output=torch.cat([mean.detach(), variance], dim=1))
        return prediction.error + self.weight * self.vlb(for_variance)
