"""Augmentation with a probability that follows the overfitting of the discriminator.

All warps of an image are one affine map and all of its colour changes another, so an image is sampled once.
Source: Karras et al. 2020 (ADA), appendix B: order, distributions and strengths.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gensweep.gan.augmentation import (
    AUGMENTATIONS,
    AdaptationImages,
    AdaptationInterval,
    Adaptive,
    Augmented,
    SignTarget,
)
from gensweep.noise import Noise

#: The largest translation by whole pixels, as a share of the image's side.
MAX_INTEGER_TRANSLATION = 0.125
#: Standard deviation of the translation by parts of a pixel, as a share of the image's side.
TRANSLATION_STD = 0.125
#: Standard deviation of log2 of the factor that both sides are scaled by.
SCALE_STD = 0.2
#: Standard deviation of log2 of the factor that one side is scaled by.
STRETCH_STD = 0.2
#: Standard deviation of the number that is added to all values, which are in -1 .. 1.
BRIGHTNESS_STD = 0.2
#: Standard deviation of log2 of the contrast's factor.
CONTRAST_STD = 0.5
#: Standard deviation of log2 of the saturation's factor.
SATURATION_STD = 1.0


@AUGMENTATIONS.register("ada")
class Ada(Adaptive):
    """Flips, rotations, translations, scaling and colours, with a probability that follows D's overfitting.

    Every `interval` batches the probability rises if the mean sign of the real logits is above `target`, else it falls,
    at a rate that takes `images` images from 0 to 1.  Warps are bilinear with mirrored edges, without the paper's
    wavelet filters.  Source: Karras et al. 2020 (ADA), section 3.1 and appendix B.
    """

    def __init__(
        self, *, target: SignTarget = 0.6, images: AdaptationImages = 500_000, interval: AdaptationInterval = 4
    ) -> None:
        super().__init__(target, images, interval)

    def forward(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Warped, then recoloured."""
        p = self.probability
        return Augmented(recoloured(warped(images, noise, stream, p), noise, stream + 16, p))

    def signals(self) -> dict[str, Tensor]:
        """The probability of each transform."""
        return {"augmentation": self.probability.clone()}


def warped(
    images: Float[Tensor, "b c s s"],
    noise: Noise,
    stream: int,
    p: Float[Tensor, ""],
    *,
    blit: bool = True,
    geometry: bool = True,
) -> Float[Tensor, "b c s s"]:
    """Warped square images; images without a transform stay bit-identical.

    Blits are flips, quarter turns and moves by whole pixels; geometry scales, turns, stretches and moves by any
    distance.  Uses three random streams from `stream` on.
    """
    matrix = warp_matrix(noise, stream, p, images.shape[-1], blit=blit, geometry=geometry)
    grid = F.affine_grid(matrix[:, :2], list(images.shape), align_corners=False)
    sampled = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    still = (matrix == torch.eye(3, device=matrix.device)).flatten(1).all(dim=1)
    return torch.where(still.view(-1, 1, 1, 1), images, sampled)


def recoloured(
    images: Float[Tensor, "b c h w"], noise: Noise, stream: int, p: Float[Tensor, ""]
) -> Float[Tensor, "b c h w"]:
    """Images of 3 channels or 1, recoloured; they may leave [-1, 1].  Streams as in `warped`.

    Raises ValueError for another number of channels.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"colours of images with 1 or 3 channels can be changed, but these have {channels}")
    matrix = colour_matrix(noise, stream, p, hues=channels == 3)[:, :3]
    if channels == 1:
        grey = matrix.mean(dim=1)
        return images * grey[:, :3].sum(dim=1).view(-1, 1, 1, 1) + grey[:, 3].view(-1, 1, 1, 1)
    return torch.einsum("bdc,bchw->bdhw", matrix[:, :, :3], images) + matrix[:, :, 3, None, None]


def warp_matrix(
    noise: Noise, stream: int, p: Float[Tensor, ""], size: int, *, blit: bool, geometry: bool
) -> Float[Tensor, "b 3 3"]:
    """Source position of each position in a warped image, both in [-1, 1]."""
    gates = noise.uniform(8, stream=stream).unbind(dim=1)
    flip, quarter, right, down, before, after = noise.uniform(6, stream=stream + 1).unbind(dim=1)
    scale, stretch, across, along = noise.normal(4, stream=stream + 2).unbind(dim=1)
    zero = torch.zeros_like(flip)
    matrix = torch.eye(3, device=flip.device).expand(len(flip), 3, 3)
    if blit:
        flipped = torch.where(gates[0] < p, (2 * flip).floor(), zero)
        matrix = matrix @ _scaling(1 - 2 * flipped, zero + 1)
        matrix = matrix @ _rotation(torch.where(gates[1] < p, (4 * quarter).floor() * (math.pi / 2), zero))
        shift = torch.stack([right, down]).mul(2).sub(1).mul(MAX_INTEGER_TRANSLATION * size).round() / size
        matrix = matrix @ _move(*torch.where(gates[2] < p, shift, zero))
    if geometry:
        # Of two turns at least one is drawn with probability p.
        turned = 1 - (1 - p).sqrt()
        factor = torch.exp2(torch.where(gates[3] < p, SCALE_STD * scale, zero))
        matrix = matrix @ _scaling(factor, factor)
        matrix = matrix @ _rotation(torch.where(gates[4] < turned, (2 * before - 1) * math.pi, zero))
        factor = torch.exp2(torch.where(gates[5] < p, STRETCH_STD * stretch, zero))
        matrix = matrix @ _scaling(factor, 1 / factor)
        matrix = matrix @ _rotation(torch.where(gates[6] < turned, (2 * after - 1) * math.pi, zero))
        matrix = matrix @ _move(*torch.where(gates[7] < p, TRANSLATION_STD * torch.stack([across, along]), zero))
    return matrix


def colour_matrix(noise: Noise, stream: int, p: Float[Tensor, ""], *, hues: bool) -> Float[Tensor, "b 4 4"]:
    """Brightness, contrast and a flip of the luma, and of colours also hue and saturation, of (r, g, b, 1)."""
    gates = noise.uniform(5, stream=stream).unbind(dim=1)
    flip, angle = noise.uniform(2, stream=stream + 1).unbind(dim=1)
    brightness, contrast, saturation = noise.normal(3, stream=stream + 2).unbind(dim=1)
    zero = torch.zeros_like(flip)
    one, luma = torch.eye(3, device=flip.device), torch.full((3, 3), 1 / 3, device=flip.device)
    shift = torch.where(gates[0] < p, BRIGHTNESS_STD * brightness, zero).view(-1, 1).expand(-1, 3)
    matrix = _affine(one.expand(len(flip), 3, 3), shift)
    factor = torch.exp2(torch.where(gates[1] < p, CONTRAST_STD * contrast, zero)).view(-1, 1, 1)
    matrix = _affine(factor * one) @ matrix
    flipped = torch.where(gates[2] < p, (2 * flip).floor(), zero).view(-1, 1, 1)
    matrix = _affine(one - 2 * flipped * luma) @ matrix
    if hues:
        theta = torch.where(gates[3] < p, (2 * angle - 1) * math.pi, zero).view(-1, 1, 1)
        # Rodrigues' formula; the axis is the grey diagonal.
        cross = (torch.roll(one, 1, dims=0) - torch.roll(one, -1, dims=0)) / math.sqrt(3)
        matrix = _affine(theta.cos() * one + theta.sin() * cross + (1 - theta.cos()) * luma) @ matrix
        factor = torch.exp2(torch.where(gates[4] < p, SATURATION_STD * saturation, zero)).view(-1, 1, 1)
        matrix = _affine(luma + factor * (one - luma)) @ matrix
    return matrix


def _affine(linear: Float[Tensor, "b n n"], shift: Float[Tensor, "b n"] | None = None) -> Float[Tensor, "b m m"]:
    """Homogeneous coordinates."""
    matrix = torch.eye(linear.shape[1] + 1, device=linear.device).repeat(len(linear), 1, 1)
    matrix[:, :-1, :-1] = linear
    if shift is not None:
        matrix[:, :-1, -1] = shift
    return matrix


def _scaling(x: Float[Tensor, " b"], y: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    return _affine(torch.diag_embed(torch.stack([x, y], dim=1)))


def _rotation(theta: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    rows = torch.stack([theta.cos(), -theta.sin(), theta.sin(), theta.cos()], dim=1)
    return _affine(rows.view(-1, 2, 2))


def _move(x: Float[Tensor, " b"], y: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    """By parts of the side, which is 2 long."""
    shift = 2 * torch.stack([x, y], dim=1)
    return _affine(torch.eye(2, device=x.device).expand(len(x), 2, 2), shift)
