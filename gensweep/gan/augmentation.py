"""Augmentation of real and fake images for the discriminator.

Gradients for the generator pass through it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from annotated_types import Ge, Interval, MinLen, doc
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.noise import Noise
from gensweep.registry import Registry

#: Random streams that one registered augmentation may use, starting with its own.
STREAMS_PER_AUGMENTATION = 32
#: DiffAugment: the largest translation, as a share of the image's side.
MAX_TRANSLATION = 0.125
#: DiffAugment: the side of the square that is cut out, as a share of the image's side.
CUTOUT_SIDE = 0.5

SignTarget: TypeAlias = Annotated[
    float,
    Interval(ge=-1, le=1),
    doc("mean sign of real images' logits at which the probability p stays constant; p rises above and falls below"),
]
AdaptationImages: TypeAlias = Annotated[int, Ge(1), doc("images in which p can go from 0 to 1")]
AdaptationInterval: TypeAlias = Annotated[int, Ge(1), doc("batches between two changes of p")]


class Augmented(NamedTuple):
    """Augmented images; `time`, in [0, 1000], is their noise level as an input of the discriminator, if used."""

    images: Float[Tensor, "b c h w"]
    time: Float[Tensor, " b"] | None = None


class Augmentation(nn.Module, ABC):
    """A transform of images; its learned state is in buffers, which are saved.

    `timed` if it returns times.  `settles` if it needs a loss with a boundary between real and fake logits.
    """

    timed = False
    settles = False

    @abstractmethod
    def forward(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Transform float32 images in [-1, 1], each with its own random numbers."""

    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Adapt at the end of a step to the discriminator's logits of real images: 1 above the boundary, -1 below.

        `total` is the number of images in the batch over all workers, which call it together.
        """

    def signals(self) -> dict[str, Float[Tensor, ""]]:
        """Numbers to log, equal on all workers."""
        return {}


#: Items are classes with settings keyword-only.
AUGMENTATIONS: Registry[Callable[..., Augmentation]] = Registry("augmentation", package="gensweep.gan")


@AUGMENTATIONS.register("none")
class Unchanged(Augmentation):
    """No change."""

    def forward(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """The same images."""
        return Augmented(images)


@AUGMENTATIONS.register("diffaugment")
class DiffAugment(Augmentation):
    """Random colours, position and a hole in every image.  Source: Zhao et al. 2020, section 3.3 and its code."""

    def __init__(
        self,
        *,
        policy: Annotated[
            tuple[Literal["color", "translation", "cutout"], ...], MinLen(1), doc("transforms of every image")
        ] = ("color", "translation", "cutout"),
    ) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Each part of the policy, in the order color, translation, cutout."""
        if "color" in self.policy:
            images = jitter(images, noise.uniform(3, stream=stream))
        if "translation" in self.policy:
            images = translate(images, noise.uniform(2, stream=stream + 1))
        if "cutout" in self.policy:
            images = cutout(images, noise.uniform(2, stream=stream + 2))
        return Augmented(images)


def jitter(x: Float[Tensor, "b c h w"], u: Float[Tensor, "b 3"]) -> Float[Tensor, "b c h w"]:
    """Brightness by -0.5 to 0.5, saturation times 0 to 2, contrast times 0.5 to 1.5; u is in [0, 1)."""
    brightness, saturation, contrast = u.view(-1, 3, 1, 1, 1).unbind(dim=1)
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def translate(x: Float[Tensor, "b c h w"], u: Float[Tensor, "b 2"]) -> Float[Tensor, "b c h w"]:
    """Move by whole pixels, up to an eighth of the side, in both directions; black (0) fills the gap."""
    b, c, h, w = x.shape
    reach = int(h * MAX_TRANSLATION + 0.5), int(w * MAX_TRANSLATION + 0.5)
    rows, columns = (
        (u[:, axis] * (2 * reach[axis] + 1)).long()[:, None] + torch.arange((h, w)[axis], device=x.device)
        for axis in (0, 1)
    )
    padded = F.pad(x, [reach[1], reach[1], reach[0], reach[0]])
    across = padded.gather(2, rows[:, None, :, None].expand(b, c, h, padded.shape[3]))
    return across.gather(3, columns[:, None, None, :].expand(b, c, h, w))


def cutout(x: Float[Tensor, "b c h w"], u: Float[Tensor, "b 2"]) -> Float[Tensor, "b c h w"]:
    """Set a square of half the side to 0 anywhere, possibly across the edge."""
    keeps = []
    for axis, size in enumerate(x.shape[2:]):
        hole = int(size * CUTOUT_SIDE + 0.5)
        middle = (u[:, axis] * (size + 1 - hole % 2)).long()[:, None]
        offset = torch.arange(size, device=x.device) - (middle - hole // 2)
        keeps.append((offset < 0) | (offset >= hole))
    return x * (keeps[0][:, None, :, None] | keeps[1][:, None, None, :]).to(x.dtype)


class Adaptive(Augmentation):
    """An augmentation with a probability that follows the overfitting of the discriminator.

    Every `interval` batches it rises if the mean sign of the real logits is above `target`, else it falls, at a rate
    that takes `images` images from 0 to 1.  `verdicts` and `count` are the sum and the number of signs since the last
    change.  Source: Karras et al. 2020 (ADA), section 3.1.
    """

    settles = True
    probability: Tensor
    verdicts: Tensor
    count: Tensor

    def __init__(self, target: float, images: int, interval: int) -> None:
        super().__init__()
        self.target, self.images, self.interval = target, images, interval
        for name in ("probability", "verdicts", "count"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Count the signs, and move the probability every `interval` batches."""
        sums = torch.stack([signs.sum(), torch.full_like(self.count, len(signs))])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
        self.verdicts += sums[0]
        self.count += sums[1]
        # All on the device: a step must not wait for the host.
        ready = self.count >= self.interval * total
        move = (self.verdicts / self.count - self.target).sign() * self.count / self.images
        self.probability.copy_(torch.where(ready, (self.probability + move).clamp(0, 1), self.probability))
        self.verdicts.mul_(~ready)
        self.count.mul_(~ready)


class InTurn(Augmentation):
    """Two augmentations in sequence.  Uses twice the random streams of one; times come from the second."""

    def __init__(self, first: Augmentation, last: Augmentation) -> None:
        super().__init__()
        self.first, self.last = first, last
        self.timed, self.settles = last.timed, first.settles or last.settles

    def forward(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Apply the first, then the second."""
        return self.last(self.first(images, noise, stream).images, noise, stream + STREAMS_PER_AUGMENTATION)  # type: ignore[no-any-return]

    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Both learn."""
        self.first.observe(signs, total)
        self.last.observe(signs, total)

    def signals(self) -> dict[str, Float[Tensor, ""]]:
        """Numbers of both."""
        return self.first.signals() | self.last.signals()
