"""Augmentation with a probability that follows how much the discriminator overfits."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen
from jaxtyping import Float
from torch import Tensor

from gensweep.gan.augmentation import AUGMENTATIONS, Adaptive, Augmented
from gensweep.gan.transforms import recoloured, warped
from gensweep.noise import Noise

__all__ = ["Ada"]


@AUGMENTATIONS.register("ada")
class Ada(Adaptive):
    """Flips, rotations, translations, scaling and colours, each with a probability that follows how much D overfits.

    Every `interval` batches the probability rises if the mean sign of the real logits is above `target`, and falls
    if it is below, so that it could go from 0 to 1 within `images` images.  Warps are bilinear with mirrored edges,
    without the paper's wavelet filters.  Source: Karras et al. 2020 (ADA), section 3.1 and appendix B.
    """

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
        super().__init__(target, images, interval)
        self.transforms = transforms

    def forward(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Warped, then recoloured."""
        p = self.probability
        x = warped(images, noise, stream, p, blit="blit" in self.transforms, geometry="geometry" in self.transforms)
        return Augmented(recoloured(x, noise, stream + 16, p) if "color" in self.transforms else x)

    def signals(self) -> dict[str, Tensor]:
        """The probability of each transform."""
        return {"augmentation": self.probability.clone()}
