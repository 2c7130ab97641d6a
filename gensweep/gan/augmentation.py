"""What is done to real and fake images alike before the discriminator sees them.

Gradients for the generator pass through it.  An item may have a memory, buffers that are saved in checkpoints: it is
shown the signs of the discriminator's logits of real images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from gensweep.noise import Noise
from gensweep.registry import Registry

__all__ = ["AUGMENTATIONS", "STREAMS_PER_AUGMENTATION", "Augmentation", "Augmented", "InTurn", "Unchanged"]

#: Random streams that one registered augmentation may use, from the one it is given on.
STREAMS_PER_AUGMENTATION = 32


class Augmented(NamedTuple):
    """Augmented images; `time`, in [0, 1000], is the discriminator's input for how noisy each is, if it has one."""

    images: Float[Tensor, "b c h w"]
    time: Float[Tensor, " b"] | None = None


@runtime_checkable
class Augmentation(Protocol):
    """`timed` if it gives times.  `settles` if it needs a loss with a boundary between real and fake logits.

    `memory` is empty where nothing is remembered.
    """

    timed: bool
    settles: bool

    @property
    def memory(self) -> nn.Module:
        """Buffers that change in training."""
        ...

    def __call__(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Change float32 images in [-1, 1], each by random numbers of its own."""
        ...

    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Learn at the end of a step from the discriminator's logits of real images: 1 above the boundary, -1 below.

        `total` is the number of images in the batch over all workers, which call it together.
        """
        ...

    def signals(self) -> Mapping[str, Float[Tensor, ""]]:
        """Numbers worth a log, equal on all workers."""
        ...


#: Items are classes with settings keyword-only.
AUGMENTATIONS: Registry[Callable[..., Augmentation]] = Registry("augmentation", package="gensweep.gan")


@AUGMENTATIONS.register("none")
class Unchanged:
    """Images as they are."""

    timed = settles = False

    def __init__(self) -> None:
        self.memory = nn.Module()

    def __call__(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """The same images."""
        return Augmented(images)

    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Nothing to learn."""

    def signals(self) -> Mapping[str, Tensor]:
        """None."""
        return {}


class InTurn:
    """One augmentation after another.  It draws from twice as many streams as each; times are those of the last."""

    def __init__(self, first: Augmentation, last: Augmentation) -> None:
        self.first, self.last = first, last
        self.timed, self.settles = last.timed, first.settles or last.settles
        self.memory = nn.ModuleDict({"first": first.memory, "last": last.memory})

    def __call__(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """The last of the first."""
        return self.last(self.first(images, noise, stream).images, noise, stream + STREAMS_PER_AUGMENTATION)

    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Both learn."""
        self.first.observe(signs, total)
        self.last.observe(signs, total)

    def signals(self) -> Mapping[str, Float[Tensor, ""]]:
        """Those of both."""
        return {**self.first.signals(), **self.last.signals()}
