"""Generative adversarial networks, unconditional or class-conditional."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.families.game import DISCRIMINATOR, GENERATOR, SAMPLING_LATENT_STREAM, Adversarial, adversarial
from gensweep.nn.networks import ADVERSARIES, Adversaries
from gensweep.noise import Noise
from gensweep.registry import Choice, Section

__all__ = ["GanFamily"]


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

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The turns of one step of the game."""
        return self.gan.play(networks, self.networks[DISCRIMINATOR], batch, batch.labels if self.classes else None)

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """One pass through the generator."""
        z = noise.normal(self.gan.latent, stream=SAMPLING_LATENT_STREAM)
        return network(z, labels if self.classes else None).float()  # type: ignore[no-any-return]
