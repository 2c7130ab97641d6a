"""The game of generator and discriminator: what each of its turns is.

Families of GANs differ in what the discriminator is shown, which is an augmentation, so that they share this game.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.errors import ConfigError
from gensweep.families.family import Batch, Loss
from gensweep.families.optimizers import Beta, Clip, Rate, Warmup, adam_optimizer
from gensweep.gan.augmentation import AUGMENTATIONS, STREAMS, Augmentation, Augmented
from gensweep.gan.losses import GAN_LOSSES, GanLoss
from gensweep.gan.penalties import PENALTIES, Penalty, between
from gensweep.registry import Choice

__all__ = ["DISCRIMINATOR", "GENERATOR", "LATENT", "START", "Adversarial", "adversarial"]

GENERATOR, DISCRIMINATOR = "generator", "discriminator"

# Streams of randomness.  3 is that of latents that images are drawn from, apart from those of the training: else they
# would be its best known ones.  Each use of an augmentation has room for two that come in turn.
LATENT, START, BETWEEN = 0, 3, 4
REAL, FAKE, JUDGED, PENALISED = (2 * STREAMS * use for use in (1, 2, 3, 4))


@dataclass(frozen=True)
class Adversarial:
    """How two networks are set against each other; `discriminator_steps` come before one of the generator.

    Raises ConfigError if the augmentation follows verdicts that the loss does not give.
    """

    loss: GanLoss
    penalty: Penalty | None
    augmentation: Augmentation
    latent: int
    discriminator_steps: int
    rates: dict[str, float]
    betas: tuple[float, float]
    warmup: int
    clip: float | None

    def __post_init__(self) -> None:
        if self.augmentation.settles and self.loss.boundary is None:
            raise ConfigError(
                "the augmentation follows how often real images are taken for real, and this loss draws no line "
                "between real and fake; use another loss, or a family and an augmentation that do not adapt"
            )

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network, at its own rate."""
        return {
            name: adam_optimizer(network.parameters(), self.rates[name], self.betas)
            for name, network in networks.items()
        }

    def play(
        self, networks: Mapping[str, nn.Module], bare: nn.Module, batch: Batch, labels: Int[Tensor, " b"] | None
    ) -> Iterator[Loss]:
        """The losses of one step: the discriminator's on real and on fake images, then the generator's on these fakes.

        `networks` may be wrapped for data-parallel training; `bare` is the discriminator without its wrapper.  Real
        and fake go backward apart, because data-parallel training cannot take two passes through a batch-normalised
        network before one backward.
        """
        discriminator, loss, turn = networks[DISCRIMINATOR], self.loss, batch.step % self.discriminator_steps == 0
        with torch.set_grad_enabled(turn):
            fake: Tensor = networks[GENERATOR](batch.noise.normal(self.latent, stream=LATENT), labels)
        real_logits = self.judge(discriminator, batch.images, batch, labels, REAL)
        signals = self._signals(real_logits, real=True)
        yield Loss(DISCRIMINATOR, loss.discriminator_real(real_logits), "real", update=False, signals=signals)
        if self.penalty is not None and batch.step % self.penalty.every == 0:
            value = self._penalised(self.penalty, discriminator, fake.detach(), batch, labels)
            yield Loss(DISCRIMINATOR, value, "penalty", update=False, every=self.penalty.every)
        fake_logits = self.judge(discriminator, fake.detach(), batch, labels, FAKE)
        signals = self._signals(fake_logits, real=False)
        yield Loss(DISCRIMINATOR, loss.discriminator_fake(fake_logits), "fake", signals=signals)
        if turn:
            # A gradient for the images only, so the network itself, not its wrapper.
            trained = [parameter for parameter in bare.parameters() if parameter.requires_grad]
            bare.requires_grad_(False)
            judged = self.judge(bare, fake, batch, labels, JUDGED)
            for parameter in trained:
                parameter.requires_grad_(True)
            yield Loss(GENERATOR, loss.generator(judged), "generator", every=self.discriminator_steps)
        if loss.boundary is not None:
            self.augmentation.observe((real_logits.detach() - loss.boundary).sign(), batch.total)

    def judge(
        self,
        discriminator: nn.Module,
        images: Float[Tensor, "b c h w"],
        batch: Batch,
        labels: Int[Tensor, " b"] | None,
        stream: int,
    ) -> Float[Tensor, " b"]:
        """Logits of images as the augmentation shows them; float32, as bfloat16 is too coarse for logarithms."""
        with torch.autocast(images.device.type, enabled=False):
            shown = self.augmentation(images.float(), batch.noise, stream)
        return _logits(discriminator, shown, labels)

    def _penalised(
        self,
        penalty: Penalty,
        discriminator: nn.Module,
        fake: Float[Tensor, "b c h w"],
        batch: Batch,
        labels: Int[Tensor, " b"] | None,
    ) -> Float[Tensor, ""]:
        """The penalty of images as the augmentation shows them, in float32, as gradients are small."""
        with torch.autocast(fake.device.type, enabled=False):
            images = batch.images
            if penalty.at == "between":
                images = between(images, fake.float(), batch.noise.uniform(stream=BETWEEN))
            shown = self.augmentation(images, batch.noise, PENALISED)
            leaf = shown.images.detach().requires_grad_()
            # A view, as the hooks that count operations cannot look at a leaf.
            shown = shown._replace(images=leaf.view_as(leaf))
            return penalty(_logits(discriminator, shown, labels), shown.images)

    def _signals(self, logits: Float[Tensor, " b"], *, real: bool) -> dict[str, Float[Tensor, ""]]:
        """How the discriminator does, as means over images."""
        logits, name = logits.detach(), "real" if real else "fake"
        signals = {f"logit_{name}": logits.mean()}
        if self.loss.boundary is not None:
            right = logits > self.loss.boundary if real else logits < self.loss.boundary
            signals[f"accuracy_{name}"] = right.float().mean()
        return signals | (dict(self.augmentation.signals()) if real else {})


def adversarial(
    *,
    loss: Annotated[Callable[[], GanLoss], Choice(GAN_LOSSES, "non_saturating")],
    penalty: Annotated[Callable[[], Penalty | None], Choice(PENALTIES, "none")],
    augmentation: Annotated[Callable[[], Augmentation], Choice(AUGMENTATIONS, "none")],
    latent: Annotated[int, Interval(ge=1, le=65_536)] = 100,
    discriminator_steps: Annotated[int, Interval(ge=1, le=100)] = 1,
    generator_learning_rate: Rate = 2e-4,
    discriminator_learning_rate: Rate = 2e-4,
    beta1: Beta = 0.5,
    beta2: Beta = 0.999,
    warmup: Warmup = 0,
    clip: Clip = None,
) -> Adversarial:
    """The loss, the length of the latent vector, and Adam for both networks.

    The generator learns in one of `discriminator_steps` batches.  Learning rates rise in a line over `warmup` images,
    and gradients are clipped to the norm `clip`, if given.  Source: Radford et al. 2016 (defaults).
    """
    rates = {GENERATOR: generator_learning_rate, DISCRIMINATOR: discriminator_learning_rate}
    return Adversarial(
        loss(), penalty(), augmentation(), latent, discriminator_steps, rates, (beta1, beta2), warmup, clip
    )


def _logits(discriminator: nn.Module, shown: Augmented, labels: Int[Tensor, " b"] | None) -> Float[Tensor, " b"]:
    told = () if shown.time is None else (shown.time,)
    logits: Tensor = discriminator(shown.images, labels, *told)
    return logits.float()
