"""Augmentation with a probability that follows how much the discriminator overfits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.distributed as dist
from annotated_types import Ge, Interval, MinLen
from jaxtyping import Float
from torch import Tensor, nn

from gensweep.gan.augmentation import AUGMENTATIONS, Augmented
from gensweep.gan.transforms import recoloured, warped
from gensweep.noise import Noise

__all__ = ["Ada", "Memory"]


class Memory(nn.Module):
    """The probability, and the sum and number of signs of real logits (`verdicts`) since it last changed."""

    probability: Tensor
    verdicts: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("probability", "verdicts", "count"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def observe(self, signs: Float[Tensor, " b"], *, target: float, due: int, images: int) -> None:
        """Take in signs of logits; once there are `due`, the probability changes by their number over `images`."""
        seen = torch.stack([signs.sum(), torch.full_like(self.count, len(signs))])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(seen)
        self.verdicts += seen[0]
        self.count += seen[1]
        # All on the device: a step must not wait for a number.
        ready = self.count >= due
        move = (self.verdicts / self.count - target).sign() * self.count / images
        self.probability.copy_(torch.where(ready, (self.probability + move).clamp(0, 1), self.probability))
        self.verdicts.mul_(~ready)
        self.count.mul_(~ready)


@AUGMENTATIONS.register("ada")
class Ada:
    """Flips, rotations, translations, scaling and colours, each with a probability that follows how much D overfits.

    Every `interval` batches the probability rises if the mean sign of the real logits is above `target`, and falls
    if it is below, so that it could go from 0 to 1 within `images` images.  Warps are bilinear with mirrored edges,
    without the paper's wavelet filters.  Source: Karras et al. 2020 (ADA), section 3.1 and appendix B.
    """

    timed, settles = False, True

    def __init__(
        self,
        *,
        target: Annotated[float, Interval(ge=-1, le=1)] = 0.6,
        images: Annotated[int, Ge(1)] = 500_000,
        interval: Annotated[int, Ge(1)] = 4,
        transforms: Annotated[tuple[Literal["blit", "geometry", "color"], ...], MinLen(1)] = (
            "blit",
            "geometry",
            "color",
        ),
    ) -> None:
        self.target, self.images, self.interval, self.transforms = target, images, interval, transforms
        self.memory = Memory()

    def __call__(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Warped, then recoloured."""
        p = self.memory.probability
        x = warped(images, noise, stream, p, blit="blit" in self.transforms, geometry="geometry" in self.transforms)
        return Augmented(recoloured(x, noise, stream + 16, p) if "color" in self.transforms else x)

    def observe(self, signs: Float[Tensor, " b"], total: int) -> None:
        """Move the probability every `interval` batches."""
        self.memory.observe(signs, target=self.target, due=self.interval * total, images=self.images)

    def signals(self) -> Mapping[str, Tensor]:
        """The probability of each transform."""
        return {"augmentation": self.memory.probability.clone()}
