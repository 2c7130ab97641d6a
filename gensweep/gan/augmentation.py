"""What is done to real and fake images alike before the discriminator sees them.

Gradients for the generator go through it.  An item may keep a memory (buffers), which is saved with the training: it
sees how sure the discriminator is of real images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from gensweep.noise import Noise
from gensweep.registry import Registry

__all__ = ["AUGMENTATIONS", "STREAMS", "Augmentation", "Augmented", "InTurn", "Unchanged"]

#: A registered augmentation may draw from so many streams of randomness, beginning with the one it is given.
STREAMS = 32


class Augmented(NamedTuple):
    """Images as the discriminator sees them; `time`, in [0, 1000], says how noisy each is, if it is to be told."""

    images: Float[Tensor, "b c h w"]
    time: Float[Tensor, " b"] | None = None


@runtime_checkable
class Augmentation(Protocol):
    """`timed` if it gives times.  `settles` if it needs a loss that draws a line between real and fake.

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
        """Learn at the end of a step from the discriminator's verdicts on real images: 1 for real, -1 for fake.

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
        return self.last(self.first(images, noise, stream).images, noise, stream + STREAMS)

    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Both learn."""
        self.first.observe(signs, total)
        self.last.observe(signs, total)

    def signals(self) -> Mapping[str, Float[Tensor, ""]]:
        """Those of both."""
        return {**self.first.signals(), **self.last.signals()}
