"""Differentiable augmentation with a fixed policy."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import MinLen, doc
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gensweep.gan.augmentation import AUGMENTATIONS, Augmentation, Augmented
from gensweep.noise import Noise

#: The largest translation, as a share of the image's side.
MAX_TRANSLATION = 0.125
#: The side of the square that is cut out, as a share of the image's side.
CUTOUT_SIDE = 0.5


@AUGMENTATIONS.register("diffaugment")
class DiffAugment(Augmentation):
    """Colours, position and a hole, changed in every image.  Source: Zhao et al. 2020, section 3.3 and its code."""

    def __init__(
        self,
        *,
        policy: Annotated[
            tuple[Literal["color", "translation", "cutout"], ...], MinLen(1), doc("what is changed in every image")
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
    """Moved by whole pixels, up to an eighth of the side, in both directions; black (0) comes in."""
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
    """A square of half the side set to 0, anywhere; it may stand out over the edge."""
    keeps = []
    for axis, size in enumerate(x.shape[2:]):
        hole = int(size * CUTOUT_SIDE + 0.5)
        middle = (u[:, axis] * (size + 1 - hole % 2)).long()[:, None]
        offset = torch.arange(size, device=x.device) - (middle - hole // 2)
        keeps.append((offset < 0) | (offset >= hole))
    return x * (keeps[0][:, None, :, None] | keeps[1][:, None, None, :]).to(x.dtype)
