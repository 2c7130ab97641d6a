"""Generative adversarial networks, unconditional or class-conditional."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.families.optimizers import Beta, Clip, Rate, Warmup, adam_optimizer
from gensweep.gan.losses import GAN_LOSSES, GanLoss
from gensweep.nn.networks import ADVERSARIES, Adversaries
from gensweep.noise import Noise
from gensweep.registry import Choice, Section

__all__ = ["Adversarial", "GanFamily", "adversarial"]

# Streams of randomness.  Images are not drawn from latents of the training, or they would be its best known ones.
LATENT, START = 0, 3

GENERATOR, DISCRIMINATOR = "generator", "discriminator"


@dataclass(frozen=True)
class Adversarial:
    """How two networks are set against each other."""

    loss: GanLoss
    latent: int
    rates: dict[str, float]
    betas: tuple[float, float]
    warmup: int
    clip: float | None


def adversarial(
    *,
    loss: Annotated[Callable[[], GanLoss], Choice(GAN_LOSSES, "non_saturating")],
    latent: Annotated[int, Field(ge=1)] = 100,
    generator_learning_rate: Rate = 2e-4,
    discriminator_learning_rate: Rate = 2e-4,
    beta1: Beta = 0.5,
    beta2: Beta = 0.999,
    warmup: Warmup = 0,
    clip: Clip = None,
) -> Adversarial:
    """The loss, the length of the latent vector, and Adam for both networks.

    Learning rates rise in a line over `warmup` images, and gradients are clipped to the norm `clip`, if given.
    Source: Radford et al. 2016 (defaults).
    """
    rates = {GENERATOR: generator_learning_rate, DISCRIMINATOR: discriminator_learning_rate}
    return Adversarial(loss(), latent, rates, (beta1, beta2), warmup, clip)


@FAMILIES.register("gan")
class GanFamily:
    """A generator and a discriminator, one step each in turn.  Source: Goodfellow et al. 2014."""

    sampled = GENERATOR

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        conditional: bool = False,
        network: Annotated[Callable[[int, int, int, int], Adversaries], Choice(ADVERSARIES, "dcgan")],
        gan: Annotated[Callable[[], Adversarial], Section(adversarial)],
    ) -> None:
        self.classes = classes if conditional else 0
        self.gan = gan()
        self.warmup, self.clip = self.gan.warmup, self.gan.clip
        generator, discriminator = network(channels, size, self.classes, self.gan.latent)
        self.memories: dict[str, nn.Module] = {}
        self.networks: dict[str, nn.Module] = {GENERATOR: generator, DISCRIMINATOR: discriminator}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One for each network."""
        return {
            name: adam_optimizer(network.parameters(), self.gan.rates[name], self.gan.betas)
            for name, network in self.networks.items()
        }

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The discriminator on real and on fake images, then the generator on the same fakes.

        Real and fake go backward apart, because data-parallel training cannot take two passes through a
        batch-normalised network before one backward.
        """
        labels = batch.labels if self.classes else None
        discriminator, loss = networks[DISCRIMINATOR], self.gan.loss
        # Logits may be bfloat16, which is too coarse for a logarithm and a mean.
        fake = networks[GENERATOR](batch.noise.normal(self.gan.latent, stream=LATENT), labels)
        real_logits = discriminator(batch.images, labels)
        yield Loss(DISCRIMINATOR, loss.discriminator_real(real_logits.float()), "real", update=False)
        fake_logits = discriminator(fake.detach(), labels)
        yield Loss(DISCRIMINATOR, loss.discriminator_fake(fake_logits.float()), "fake")
        yield Loss(GENERATOR, loss.generator(self._judged(fake, labels).float()), "generator")

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """One pass through the generator."""
        z = noise.normal(self.gan.latent, stream=START)
        return network(z, labels if self.classes else None).float()  # type: ignore[no-any-return]

    def _judged(self, fake: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, " b"]:
        """The discriminator's logits with a gradient for the images only, so the network itself, not its wrapper."""
        discriminator = self.networks[DISCRIMINATOR].requires_grad_(False)
        logits: Tensor = discriminator(fake, labels)
        discriminator.requires_grad_(True)
        return logits
