"""Losses of generator and discriminator, as functions of the discriminator's logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from gensweep.registry import Registry

__all__ = ["GAN_LOSSES", "GanLoss", "hinge", "least_squares", "non_saturating", "wasserstein"]


class GanLoss(NamedTuple):
    """Three functions of logits, Float[b], each a scalar mean.

    The discriminator's loss is the sum of its two parts, so each can be sent backwards on its own.  Logits above
    `boundary` mean "real"; None if only differences of logits have a meaning.
    """

    generator: Callable[[Tensor], Tensor]
    discriminator_real: Callable[[Tensor], Tensor]
    discriminator_fake: Callable[[Tensor], Tensor]
    boundary: float | None = 0.0


#: Items give a GanLoss.
GAN_LOSSES: Registry[Callable[..., GanLoss]] = Registry("GAN loss", package="gensweep.gan")


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
