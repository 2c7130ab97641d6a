"""Generative adversarial networks, unconditional or class-conditional."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gensweep.errors import ConfigError
from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.families.optimizers import Adam, Beta, Clip, Rate, Warmup
from gensweep.gan.adversarial_losses import GAN_LOSSES, PENALTIES, GanLoss, Penalty, between
from gensweep.gan.augmentation import AUGMENTATIONS, STREAMS_PER_AUGMENTATION, Augmentation, Augmented, InTurn
from gensweep.nn.networks import ADVERSARIES, Adversaries
from gensweep.noise import Noise
from gensweep.registry import Choice, Section

GENERATOR = "generator"
DISCRIMINATOR = "discriminator"

#: The random stream of the latents in training.
TRAINING_LATENT_STREAM = 0
#: That of the latents of samples, another one: the generator would know those of the training best.
SAMPLING_LATENT_STREAM = 3
#: That of the points between real and generated images where a gradient is penalised.
INTERPOLATION_STREAM = 4
#: The first streams of each use of the augmentation, which may consist of two in turn: of real images, of generated
#: ones for the discriminator and for the generator, and of the gradient penalty.
REAL_STREAM = 2 * STREAMS_PER_AUGMENTATION
FAKE_STREAM = 2 * REAL_STREAM
GENERATOR_STREAM = 3 * REAL_STREAM
PENALTY_STREAM = 4 * REAL_STREAM


@dataclass(frozen=True)
class Adversarial:
    """How two networks are set against each other; `discriminator_steps` come before one of the generator."""

    loss: GanLoss
    penalty: Penalty | None
    augmentation: Augmentation
    latent: int
    discriminator_steps: int
    adam: Mapping[str, Adam]


def adversarial(
    then: Augmentation | None = None,
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
    and gradients are clipped to the norm `clip`, if given.  `then` is what comes after the augmentation.
    Raises ConfigError if the augmentation needs a boundary between real and fake that the loss does not have.
    Source: Radford et al. 2016 (defaults).
    """
    rates = {GENERATOR: generator_learning_rate, DISCRIMINATOR: discriminator_learning_rate}
    adam = {network: Adam(rate, (beta1, beta2), warmup, clip) for network, rate in rates.items()}
    augment = augmentation() if then is None else InTurn(augmentation(), then)
    made = Adversarial(loss(), penalty(), augment, latent, discriminator_steps, adam)
    if augment.settles and made.loss.boundary is None:
        raise ConfigError(
            "the augmentation follows how often real images are taken for real, and this loss draws no line "
            "between real and fake; use another loss, or a family and an augmentation that do not adapt"
        )
    return made


@FAMILIES.register("gan")
class GanFamily:
    """A generator and a discriminator that take turns.  Source: Goodfellow et al. 2014."""

    sampled = GENERATOR

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        conditional: bool = False,
        network: Annotated[Callable[[int, int, int, int, bool], Adversaries], Choice(ADVERSARIES, "dcgan")],
        gan: Annotated[Callable[[], Adversarial], Section(adversarial)],
    ) -> None:
        self.classes = classes if conditional else 0
        self.gan = gan()
        adam = self.gan.adam[GENERATOR]
        self.warmup, self.clip = adam.warmup, adam.clip
        self.memories: dict[str, nn.Module] = {"augmentation": self.gan.augmentation}
        made = network(channels, size, self.classes, self.gan.latent, self.gan.augmentation.timed)
        self.networks: dict[str, nn.Module] = {GENERATOR: made.generator, DISCRIMINATOR: made.discriminator}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One for each network."""
        return {name: self.gan.adam[name].optimizer(network) for name, network in self.networks.items()}

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """One pass through the generator."""
        z = noise.normal(self.gan.latent, stream=SAMPLING_LATENT_STREAM)
        return network(z, labels if self.classes else None).float()  # type: ignore[no-any-return]

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The losses of one step: the discriminator's on real and on fake images, then the generator's on these fakes.

        Real and fake go backward apart, because data-parallel training cannot take two passes through a
        batch-normalised network before one backward.
        """
        discriminator, labels, gan = networks[DISCRIMINATOR], batch.labels if self.classes else None, self.gan
        turn = batch.step % gan.discriminator_steps == 0
        with torch.set_grad_enabled(turn):
            fake: Tensor = networks[GENERATOR](batch.noise.normal(gan.latent, stream=TRAINING_LATENT_STREAM), labels)

        def logits_of(network: nn.Module, images: Tensor, stream: int) -> Tensor:
            return _logits(network, self._shown(images, batch.noise, stream), labels)

        real_logits = logits_of(discriminator, batch.images, REAL_STREAM)
        signals = self._signals(real_logits, real=True) | gan.augmentation.signals()
        yield Loss(DISCRIMINATOR, gan.loss.discriminator_real(real_logits), "real", update=False, signals=signals)
        if gan.penalty is not None and batch.step % gan.penalty.every == 0:
            value = self._penalised(gan.penalty, discriminator, fake.detach(), batch, labels)
            yield Loss(DISCRIMINATOR, value, "penalty", update=False, every=gan.penalty.every)
        fake_logits = logits_of(discriminator, fake.detach(), FAKE_STREAM)
        signals = self._signals(fake_logits, real=False)
        yield Loss(DISCRIMINATOR, gan.loss.discriminator_fake(fake_logits), "fake", signals=signals)
        if turn:
            # A gradient for the images only, so the network itself, not its wrapper for data-parallel training.
            bare = discriminator.module if isinstance(discriminator, DistributedDataParallel) else discriminator
            trained = [parameter for parameter in bare.parameters() if parameter.requires_grad]
            bare.requires_grad_(False)
            logits = logits_of(bare, fake, GENERATOR_STREAM)
            for parameter in trained:
                parameter.requires_grad_(True)
            yield Loss(GENERATOR, gan.loss.generator(logits), "generator", every=gan.discriminator_steps)
        if gan.loss.boundary is not None:
            gan.augmentation.observe((real_logits.detach() - gan.loss.boundary).sign(), batch.total)

    def _shown(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Images as the discriminator is shown them; float32, as bfloat16 is too coarse for logarithms."""
        with torch.autocast(images.device.type, enabled=False):
            return self.gan.augmentation(images.float(), noise, stream)  # type: ignore[no-any-return]

    def _penalised(
        self, penalty: Penalty, discriminator: nn.Module, fake: Tensor, batch: Batch, labels: Tensor | None
    ) -> Float[Tensor, ""]:
        """The penalty of images as the augmentation shows them, in float32, as gradients are small."""
        images = batch.images
        if penalty.at == "between":
            images = between(images, fake.float(), batch.noise.uniform(stream=INTERPOLATION_STREAM))
        shown = self._shown(images, batch.noise, PENALTY_STREAM)
        leaf = shown.images.detach().requires_grad_()
        # A view, as the hooks that count operations cannot look at a leaf.
        shown = shown._replace(images=leaf.view_as(leaf))
        # torch.compile has no second derivatives.
        with torch.autocast(fake.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
            return penalty(_logits(discriminator, shown, labels), shown.images)

    def _signals(self, logits: Float[Tensor, " b"], *, real: bool) -> dict[str, Float[Tensor, ""]]:
        """Mean logit and accuracy of the discriminator."""
        logits, name = logits.detach(), "real" if real else "fake"
        signals = {f"logit_{name}": logits.mean()}
        boundary = self.gan.loss.boundary
        if boundary is not None:
            signals[f"accuracy_{name}"] = (logits > boundary if real else logits < boundary).float().mean()
        return signals


def _logits(discriminator: nn.Module, shown: Augmented, labels: Int[Tensor, " b"] | None) -> Float[Tensor, " b"]:
    times = () if shown.time is None else (shown.time,)
    logits: Tensor = discriminator(shown.images, labels, *times)
    return logits.float()
