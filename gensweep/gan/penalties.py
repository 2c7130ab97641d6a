"""Penalties on the gradient of the discriminator's logits with respect to its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from gensweep.registry import Registry

__all__ = ["PENALTIES", "Penalty", "between", "gradient_penalty", "gradients", "r1"]


@dataclass(frozen=True)
class Penalty:
    """A loss of gradients, Float[b c h w] to a scalar mean over images.

    It is computed in one of `every` steps, with a weight that is larger by this factor.
    Gradients are taken at real images, or at points between real and fake ones.
    """

    of: Callable[[Tensor], Tensor]
    at: Literal["real", "between"]
    every: int = 1

    def __call__(self, logits: Float[Tensor, " b"], images: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        """The penalty of logits that come from these images, which require a gradient.

        Every parameter that logits depend on gets a gradient from it, if only 0, as data-parallel training expects.
        """
        return self.every * self.of(gradients(logits, images)) + 0.0 * logits.sum()


#: Items give a Penalty, or None for none.
PENALTIES: Registry[Callable[..., Penalty | None]] = Registry("gradient penalty", package="gensweep.gan")


@PENALTIES.register("none")
def none() -> None:
    """No penalty."""


@PENALTIES.register("r1")
def r1(*, weight: Annotated[float, Gt(0)] = 10.0, every: Annotated[int, Ge(1)] = 16) -> Penalty:
    """weight/2 times the squared norm of the gradient at real images.

    It is computed in one of `every` steps, with a weight that is larger by this factor.
    Source: Mescheder et al. 2018, eq. 9; Karras et al. 2020 (StyleGAN2), appendix B (lazy regularisation).
    """
    return Penalty(lambda gradient: 0.5 * weight * gradient.square().flatten(1).sum(dim=1).mean(), "real", every)


@PENALTIES.register("gradient_penalty")
def gradient_penalty(*, weight: Annotated[float, Gt(0)] = 10.0, every: Annotated[int, Ge(1)] = 1) -> Penalty:
    """Weight times the squared distance of the gradient's norm to 1, between real and fake images.

    It is meant for a discriminator without batch norms.  Source: Gulrajani et al. 2017, eq. 3 (WGAN-GP).
    """

    def penalty(gradient: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return weight * (norm - 1).square().mean()

    return Penalty(penalty, "between", every)


def gradients(logits: Float[Tensor, " b"], images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The gradient of the sum of all logits at the images, which can be differentiated again."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient


def between(
    real: Float[Tensor, "b c h w"], fake: Float[Tensor, "b c h w"], share: Float[Tensor, " b"]
) -> Float[Tensor, "b c h w"]:
    """Points on the lines from real images (share 0) to fake ones (share 1)."""
    return torch.lerp(real, fake, share.view(-1, 1, 1, 1))
