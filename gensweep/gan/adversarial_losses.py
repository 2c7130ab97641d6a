"""Losses of generator and discriminator: functions of the discriminator's logits, and penalties on its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
from annotated_types import Ge, Gt, doc
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gensweep.registry import Registry


class GanLoss(NamedTuple):
    """Three functions of logits, Float[b], each a scalar mean.

    The discriminator's loss is the sum of its two parts, so each can run backward separately.  Logits above `boundary`
    mean "real"; None if only differences of logits have a meaning.
    """

    generator: Callable[[Tensor], Tensor]
    discriminator_real: Callable[[Tensor], Tensor]
    discriminator_fake: Callable[[Tensor], Tensor]
    boundary: float | None = 0.0


class PairLoss(NamedTuple):
    """A function of the logits of one side minus those of the other, Float[b], in pairs.

    It is a scalar mean, of real minus fake logits for the discriminator, and of fake minus real ones for the generator.
    A single logit has no meaning, so there is no boundary.
    """

    of: Callable[[Tensor], Tensor]
    boundary: None = None


#: Items give a GanLoss or a PairLoss.
GAN_LOSSES: Registry[Callable[..., GanLoss | PairLoss]] = Registry("GAN loss", package="gensweep.gan")


@GAN_LOSSES.register("non_saturating")
def non_saturating() -> GanLoss:
    """Cross-entropy, where the generator maximises log D(G(z)).  Source: Goodfellow et al. 2014."""
    return GanLoss(
        generator=lambda fake: F.softplus(-fake).mean(),
        discriminator_real=lambda real: F.softplus(-real).mean(),
        discriminator_fake=lambda fake: F.softplus(fake).mean(),
    )


@GAN_LOSSES.register("hinge")
def hinge() -> GanLoss:
    """Hinge: logits beyond a margin of 1 are good enough.  Source: Lim & Ye 2017; Miyato et al. 2018, eq. 16 and 17."""
    return GanLoss(
        generator=lambda fake: -fake.mean(),
        discriminator_real=lambda real: F.relu(1 - real).mean(),
        discriminator_fake=lambda fake: F.relu(1 + fake).mean(),
    )


@GAN_LOSSES.register("least_squares")
def least_squares() -> GanLoss:
    """Half the squared distance to 1 for real and 0 for fake.  Source: Mao et al. 2017, eq. 9."""
    return GanLoss(
        generator=lambda fake: 0.5 * (fake - 1).square().mean(),
        discriminator_real=lambda real: 0.5 * (real - 1).square().mean(),
        discriminator_fake=lambda fake: 0.5 * fake.square().mean(),
        boundary=0.5,
    )


@GAN_LOSSES.register("wasserstein")
def wasserstein() -> GanLoss:
    """The difference of mean logits; the discriminator must be kept smooth, by a penalty or a spectral norm.

    Source: Arjovsky et al. 2017, algorithm 1.
    """
    return GanLoss(
        generator=lambda fake: -fake.mean(),
        discriminator_real=lambda real: -real.mean(),
        discriminator_fake=lambda fake: fake.mean(),
        boundary=None,
    )


@GAN_LOSSES.register("relativistic")
def relativistic() -> PairLoss:
    """Cross-entropy of which image of a pair is real; the generator maximises the chance of the generated one.

    The generator gains nothing by dropping modes of the data; the game converges if gradients are penalised on both
    sides (`r1_r2`).  Source: Jolicoeur-Martineau 2019; Sun et al. 2020; Huang et al. 2024 (R3GAN).
    """
    return PairLoss(lambda ahead: F.softplus(-ahead).mean())


#: Where a gradient is penalised: at real images, at fake ones, or between the two.
Place: TypeAlias = Literal["real", "fake", "between"]


@dataclass(frozen=True)
class Penalty:
    """A loss of gradients, Float[b c h w] to a scalar mean over images, at each of its places.

    It is computed once in `every` steps, with its weight times `every`.  If `annealed`, `of` also uses the progress of
    the weight to its final value, from 0 to 1.
    """

    of: Callable[[Tensor, float], Tensor]
    at: tuple[Place, ...]
    every: int = 1
    annealed: bool = False

    def __call__(
        self, logits: Float[Tensor, " b"], images: Float[Tensor, "b c h w"], progress: float = 0.0
    ) -> Float[Tensor, ""]:
        """The penalty of logits that were computed from these images, which require a gradient.

        Every parameter behind the logits gets a gradient, possibly 0, as data-parallel training expects.
        """
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return self.every * self.of(gradient, progress) + 0.0 * logits.sum()


PenaltyWeight: TypeAlias = Annotated[float, Gt(0), doc("factor of the penalty")]
Every: TypeAlias = Annotated[int, Ge(1), doc("compute it once in this number of steps, with its weight times that")]

#: Items give a Penalty, or None for none.
PENALTIES: Registry[Callable[..., Penalty | None]] = Registry("gradient penalty", package="gensweep.gan")


@PENALTIES.register("none")
def none() -> None:
    """No penalty."""


@PENALTIES.register("r1")
def r1(*, weight: PenaltyWeight = 10.0, every: Every = 16) -> Penalty:
    """weight/2 times the squared norm of the gradient at real images.

    Source: Mescheder et al. 2018, eq. 9; Karras et al. 2020 (StyleGAN2), appendix B (lazy regularisation).
    """
    return Penalty(lambda gradient, _: 0.5 * weight * _squared_norm(gradient), ("real",), every)


@PENALTIES.register("r1_r2")
def r1_r2(
    *,
    weight: PenaltyWeight = 1.0,
    final_weight: Annotated[
        Annotated[float, Gt(0)] | None, doc("factor after the burn-in, `gan.burn_in`; null: unchanged")
    ] = None,
    every: Every = 1,
) -> Penalty:
    """weight/2 times the squared norm of the gradient at real images, and the same at generated ones.

    The paper's weights are 0.05 and, after the burn-in, 0.005 for CIFAR-10.
    Source: Mescheder et al. 2018, section 4.1; Huang et al. 2024 (R3GAN).
    """
    last = weight if final_weight is None else final_weight

    def penalty(gradient: Tensor, progress: float) -> Tensor:
        return 0.5 * (weight + progress * (last - weight)) * _squared_norm(gradient)

    return Penalty(penalty, ("real", "fake"), every, annealed=final_weight is not None)


@PENALTIES.register("gradient_penalty")
def gradient_penalty(*, weight: PenaltyWeight = 10.0, every: Every = 1) -> Penalty:
    """Weight times the squared distance of the gradient's norm to 1, between real and fake images.

    It is meant for a discriminator without batch norms.  Source: Gulrajani et al. 2017, eq. 3 (WGAN-GP).
    """

    def penalty(gradient: Tensor, _: float) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return weight * (norm - 1).square().mean()

    return Penalty(penalty, ("between",), every)


def _squared_norm(gradient: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """Squared norm of each image's gradient, averaged over images."""
    return gradient.square().flatten(1).sum(dim=1).mean()


def between(
    real: Float[Tensor, "b c h w"], fake: Float[Tensor, "b c h w"], share: Float[Tensor, " b"]
) -> Float[Tensor, "b c h w"]:
    """Points on the lines from real images (share 0) to fake ones (share 1)."""
    return torch.lerp(real, fake, share.view(-1, 1, 1, 1))
