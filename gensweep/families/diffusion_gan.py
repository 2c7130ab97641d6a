"""Diffusion-GAN: a GAN whose real and fake images are diffused alike before the discriminator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from gensweep.families.family import FAMILIES, Conditional
from gensweep.families.gan import Adversarial, Architecture, GanFamily
from gensweep.gan.adaptive_diffusion import AdaptiveDiffusion
from gensweep.gan.augmentation import Augmentation
from gensweep.registry import Section


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
