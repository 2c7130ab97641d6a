"""Generative adversarial networks, unconditional or class-conditional."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, TypeAlias

import torch
from annotated_types import Ge, Interval, doc
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gensweep.errors import ConfigError, ParameterError
from gensweep.families.family import FAMILIES, Batch, Conditional, Loss
from gensweep.families.optimizers import Adam, Beta1, Beta2, Clip, Rate, Warmup
from gensweep.gan.adaptive_diffusion import AdaptiveDiffusion
from gensweep.gan.adversarial_losses import GAN_LOSSES, PENALTIES, GanLoss, PairLoss, Penalty, Place, between
from gensweep.gan.augmentation import AUGMENTATIONS, STREAMS_PER_AUGMENTATION, Augmentation, Augmented, InTurn
from gensweep.nn.networks import ADVERSARIES, Adversaries
from gensweep.noise import Noise
from gensweep.registry import Choice, Section

GENERATOR = "generator"
DISCRIMINATOR = "discriminator"

#: Random stream of the training latents.
TRAINING_LATENT_STREAM = 0
#: Random stream of the sampling latents, which must differ: the generator knows its training latents best.
SAMPLING_LATENT_STREAM = 3
#: Random stream of the points between real and generated images for the gradient penalty.
INTERPOLATION_STREAM = 4
#: First random streams of each use of the augmentation (up to two transforms): real images, generated ones for the
#: discriminator and for the generator, and the gradient penalty.
REAL_STREAM = 2 * STREAMS_PER_AUGMENTATION
FAKE_STREAM = 2 * REAL_STREAM
GENERATOR_STREAM = 3 * REAL_STREAM
PENALTY_STREAM = 4 * REAL_STREAM

Architecture: TypeAlias = Annotated[
    Callable[[int, int, int, int, bool], Adversaries],
    Choice(ADVERSARIES, "dcgan"),
    doc("generator and discriminator"),
]


class Adversarial:
    """The loss, the length of the latent vector, and Adam for both networks.

    The burn-in follows half a cosine.  `then` follows the augmentation.
    Raises ConfigError if the augmentation needs a boundary between real and fake that the loss does not have, or if a
    setting changes over a burn-in without a length.
    Source: Radford et al. 2016 (defaults); Huang et al. 2024 (R3GAN; burn-in).
    """

    def __init__(
        self,
        then: Augmentation | None = None,
        *,
        loss: Annotated[
            Callable[[], GanLoss | PairLoss],
            Choice(GAN_LOSSES, "non_saturating"),
            doc("loss of both networks"),
        ],
        penalty: Annotated[
            Callable[[], Penalty | None], Choice(PENALTIES, "none"), doc("penalty of the discriminator's gradients")
        ],
        augmentation: Annotated[
            Callable[[], Augmentation],
            Choice(AUGMENTATIONS, "none"),
            doc("transforms of real and generated images for the discriminator"),
        ],
        latent: Annotated[int, Interval(ge=1, le=65_536), doc("length of the generator's random vector")] = 100,
        discriminator_steps: Annotated[
            int, Interval(ge=1, le=100), doc("steps of the discriminator per step of the generator")
        ] = 1,
        generator_learning_rate: Annotated[Rate, doc("Adam's step size of the generator")] = 2e-4,
        discriminator_learning_rate: Annotated[Rate, doc("Adam's step size of the discriminator")] = 2e-4,
        beta1: Beta1 = 0.5,
        beta2: Beta2 = 0.999,
        warmup: Warmup = 0,
        clip: Clip = None,
        burn_in: Annotated[
            Annotated[int, Ge(1)] | None,
            doc("training images over which rates, beta2 and the penalty change; null: no change"),
        ] = None,
        final_rate: Annotated[Rate, doc("share of both learning rates after the burn-in")] = 1.0,
        final_beta2: Annotated[
            Annotated[float, Interval(ge=0, lt=1)] | None, doc("beta2 after the burn-in; null: unchanged")
        ] = None,
    ) -> None:
        rates = {GENERATOR: generator_learning_rate, DISCRIMINATOR: discriminator_learning_rate}
        self.adam = {
            name: Adam(learning_rate=rate, beta1=beta1, beta2=beta2, warmup=warmup, clip=clip)
            for name, rate in rates.items()
        }
        self.loss, self.penalty, self.latent = loss(), penalty(), latent
        self.augmentation = augmentation() if then is None else InTurn(augmentation(), then)
        self.discriminator_steps = discriminator_steps
        self.burn_in, self.final_rate, self.final_beta2 = burn_in, final_rate, final_beta2
        changes = {
            "final_rate": final_rate != 1,
            "final_beta2": final_beta2 is not None,
            "penalty.final_weight": self.penalty is not None and self.penalty.annealed,
        }
        if burn_in is None and any(changes.values()):
            wanted = ", ".join(name for name, given in changes.items() if given)
            raise ConfigError(f"{wanted}: reached after a burn-in; set its length in images as gan.burn_in")
        if self.augmentation.settles and self.loss.boundary is None:
            able = [kind for kind in GAN_LOSSES if GAN_LOSSES[kind]().boundary is not None]
            raise ParameterError(
                "loss",
                "this loss has no boundary between real and fake images, which the augmentation needs; "
                f"choose another loss ({', '.join(able)})",
            )

    def progress(self, images: int) -> float:
        """Progress of the burn-in after this number of training images, from 0 to 1; 0 without one."""
        if self.burn_in is None:
            return 0.0
        return 0.5 - 0.5 * math.cos(math.pi * min(1.0, images / self.burn_in))


@FAMILIES.register("gan")
class GanFamily:
    """A generator and a discriminator that take turns.  Source: Goodfellow et al. 2014."""

    sampled = GENERATOR
    of_training: tuple[str, ...] = ("gan",)

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        conditional: Conditional = False,
        network: Architecture,
        gan: Annotated[Callable[[], Adversarial], Section(Adversarial)],
    ) -> None:
        self.classes = classes if conditional else 0
        self.gan = gan()
        adam = self.gan.adam[GENERATOR]
        self.rate_schedule, self.clip = adam.rate_schedule, adam.clip
        self.memories: dict[str, nn.Module] = {"augmentation": self.gan.augmentation}
        made = network(channels, size, self.classes, self.gan.latent, self.gan.augmentation.timed)
        self.networks: dict[str, nn.Module] = {GENERATOR: made.generator, DISCRIMINATOR: made.discriminator}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One for each network."""
        return {name: self.gan.adam[name].optimizer(network) for name, network in self.networks.items()}

    def anneal(self, optimizers: Mapping[str, torch.optim.Optimizer], images: int) -> None:
        """Learning rates and beta2 of a game with a burn-in."""
        progress = self.gan.progress(images)
        for name, optimizer in optimizers.items():
            first = self.gan.adam[name].beta2
            last = first if self.gan.final_beta2 is None else self.gan.final_beta2
            for group in optimizer.param_groups:
                group["lr"] *= 1 + progress * (self.gan.final_rate - 1)
                group["betas"] = (group["betas"][0], first + progress * (last - first))

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """One pass through the generator."""
        z = noise.normal(self.gan.latent, stream=SAMPLING_LATENT_STREAM)
        return network(z, labels if self.classes else None).float()  # type: ignore[no-any-return]

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The losses of one step: the discriminator's on real and on fake images, then the generator's on these fakes.

        If logits count separately, real and fake run backward in turn, so only one graph is in memory; if pairs count,
        both run together.
        """
        discriminator, labels, gan = networks[DISCRIMINATOR], batch.labels if self.classes else None, self.gan
        turn = batch.step % gan.discriminator_steps == 0
        z = batch.noise.normal(gan.latent, stream=TRAINING_LATENT_STREAM)
        # The graphs of all parts of a batch would be kept until the discriminator has taken its step.
        once = batch.parts == 1
        with torch.set_grad_enabled(turn and once):
            fake: Tensor = networks[GENERATOR](z, labels)
        penalty = gan.penalty if gan.penalty is not None and batch.step % gan.penalty.every == 0 else None
        real_shown = self._shown(batch.images, batch.noise, REAL_STREAM)
        fake_shown = self._shown(fake.detach(), batch.noise, FAKE_STREAM)
        real_logits = _logits(discriminator, real_shown, labels)
        signals = self._signals(real_logits, real=True) | gan.augmentation.signals()
        if isinstance(gan.loss, PairLoss):
            fake_logits = _logits(discriminator, fake_shown, labels)
            ahead = real_logits - fake_logits
            signals |= self._signals(fake_logits, real=False) | {"accuracy_pairs": (ahead.detach() > 0).float().mean()}
            yield Loss(DISCRIMINATOR, gan.loss.of(ahead), "pairs", update=penalty is None, signals=signals)
            if penalty is not None:
                yield from self._penalties(penalty, discriminator, fake.detach(), batch, labels)
        else:
            yield Loss(DISCRIMINATOR, gan.loss.discriminator_real(real_logits), "real", update=False, signals=signals)
            if penalty is not None:
                yield from self._penalties(penalty, discriminator, fake.detach(), batch, labels)
            fake_logits = _logits(discriminator, fake_shown, labels)
            signals = self._signals(fake_logits, real=False)
            yield Loss(DISCRIMINATOR, gan.loss.discriminator_fake(fake_logits), "fake", signals=signals)
        if turn:
            # Only the images need a gradient, so use the network without its data-parallel wrapper.
            bare = discriminator.module if isinstance(discriminator, DistributedDataParallel) else discriminator
            trained = [parameter for parameter in bare.parameters() if parameter.requires_grad]
            bare.requires_grad_(False)
            fake = fake if once else networks[GENERATOR](z, labels)
            logits = _logits(bare, self._shown(fake, batch.noise, GENERATOR_STREAM), labels)
            if isinstance(gan.loss, PairLoss):
                value = gan.loss.of(logits - _logits(bare, real_shown, labels))
            else:
                value = gan.loss.generator(logits)
            for parameter in trained:
                parameter.requires_grad_(True)
            yield Loss(GENERATOR, value, "generator", every=gan.discriminator_steps)
        if gan.loss.boundary is not None:
            gan.augmentation.observe((real_logits.detach() - gan.loss.boundary).sign(), batch.total)

    def _shown(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Augmented images for the discriminator; float32, as bfloat16 is too coarse for logarithms."""
        with torch.autocast(images.device.type, enabled=False):
            return self.gan.augmentation(images.float(), noise, stream)  # type: ignore[no-any-return]

    def _penalties(
        self, penalty: Penalty, discriminator: nn.Module, fake: Tensor, batch: Batch, labels: Tensor | None
    ) -> Iterator[Loss]:
        """The penalty at each of its places, for augmented images; float32, as gradients are small."""
        progress = self.gan.progress(batch.step * batch.total)
        for place in penalty.at:
            shown = self._shown(_images_at(place, batch, fake.float()), batch.noise, PENALTY_STREAM)
            leaf = shown.images.detach().requires_grad_()
            # A view, as the hooks that count operations need a non-leaf tensor.
            shown = shown._replace(images=leaf.view_as(leaf))
            # torch.compile has no second derivatives.
            with torch.autocast(fake.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
                value = penalty(_logits(discriminator, shown, labels), shown.images, progress)
            name = "penalty_fake" if place == "fake" else "penalty"
            # That of pairs came before, and that of generated images comes after.
            last = isinstance(self.gan.loss, PairLoss) and place == penalty.at[-1]
            yield Loss(DISCRIMINATOR, value, name, update=last, every=penalty.every)

    def _signals(self, logits: Float[Tensor, " b"], *, real: bool) -> dict[str, Float[Tensor, ""]]:
        """Mean logit and accuracy of the discriminator."""
        logits, name = logits.detach(), "real" if real else "fake"
        signals = {f"logit_{name}": logits.mean()}
        boundary = self.gan.loss.boundary
        if boundary is not None:
            signals[f"accuracy_{name}"] = (logits > boundary if real else logits < boundary).float().mean()
        return signals


@FAMILIES.register("diffusion_gan")
class DiffusionGanFamily(GanFamily):
    """A GAN with a diffusion of adaptive length after its augmentation, if any; the discriminator gets the timesteps.

    Source: Wang et al. 2022.
    """

    of_training = (*GanFamily.of_training, "adaptive_diffusion")

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        conditional: Conditional = False,
        network: Architecture,
        gan: Annotated[Callable[[Augmentation], Adversarial], Section(Adversarial)],
        adaptive_diffusion: Annotated[Callable[[], AdaptiveDiffusion], Section(AdaptiveDiffusion)],
    ) -> None:
        shown = partial(gan, adaptive_diffusion())
        super().__init__(channels, size, classes, conditional=conditional, network=network, gan=shown)


def _images_at(place: Place, batch: Batch, fake: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    if place == "between":
        return between(batch.images, fake, batch.noise.uniform(stream=INTERPOLATION_STREAM))
    return fake if place == "fake" else batch.images


def _logits(discriminator: nn.Module, shown: Augmented, labels: Int[Tensor, " b"] | None) -> Float[Tensor, " b"]:
    times = () if shown.time is None else (shown.time,)
    logits: Tensor = discriminator(shown.images, labels, *times)
    return logits.float()
