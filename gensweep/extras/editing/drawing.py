"""Images that a trained model makes of a user's pictures: versions of one, or frames from one to another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor

from gensweep.build.model import Model, in_batches, labels_of
from gensweep.data.picture_decoding import squared
from gensweep.diffusion.sdedit import edit
from gensweep.errors import ConfigError
from gensweep.extras.editing.interpolation import decode, encode, encoding_levels, slerp
from gensweep.extras.editing.repaint import repainting
from gensweep.families.family import Denoising, Encoding
from gensweep.metrics.extractors import to_uint8
from gensweep.noise import Noise

#: A pixel of a mask is white if its value, of 255, is at least this.
MIN_WHITE_OF_MASK = 128
#: The value, of 255, of pixels that are shown as not yet drawn.
UNDRAWN_GREY = 128
#: Indices of images (n,) -> the images (n, c, h, w), uint8.
Draw = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pictures:
    """What the user wants to begin with: `image` alone, with a `mask`, or on the way to `other`.

    `strength` in [0, 1] says how much of the image, or of the latents that it is encoded as, is lost in noise first.
    With a mask the sampler goes through its levels in `rounds`, see `repaint`.
    """

    image: Image.Image
    strength: float
    mask: Image.Image | None = None
    rounds: int = 1
    other: Image.Image | None = None


def draw_from_pictures(
    model: Model,
    pictures: Pictures,
    count: int,
    *,
    label: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[UInt8[Tensor, "b c h w"], UInt8[Tensor, "n c h w"], UInt8[Tensor, "a c h w"]]:
    """Images to show before, images 0..count-1 of a seed, and images to show after them.

    Before come the picture, as the model gets it, and the picture with the masked part in grey.  At strength 1 and
    without a mask the images are those that `Model.sample` draws.
    Raises ConfigError for pictures that do not suit each other, the family or its sampler, and for an unknown class.
    """
    family = model.family
    if not isinstance(family, Denoising | Encoding):
        raise ConfigError(
            f"a model of family {model.config.kind('family')!r} draws an image in one go and cannot begin with one; "
            "name a run of a family that denoises or encodes"
        )
    if pictures.mask is not None and not isinstance(family, Denoising):
        raise ConfigError(
            f"a model of family {model.config.kind('family')!r} encodes a picture as a whole and cannot draw a part of "
            "it anew; leave --inpaint out, or name a run of a family that denoises"
        )
    image = picture_for(model, pictures.image)
    before, after = [image], image.new_empty(0, *image.shape)
    if pictures.other is not None:
        if count < 2:
            raise ConfigError(f"{count} frame: an interpolation has two ends; take at least 2 frames")
        after = picture_for(model, pictures.other)[None]
        ends = _in_range(torch.cat([image[None], after]), model)
        labels = None if label is None else labels_of(model, count, label)
        t = torch.linspace(0, 1, count, dtype=torch.float64, device=model.device)
        draw = _frames(family, ends, t, labels, seed)
    else:
        labels, redraw = labels_of(model, count, label), None
        if pictures.mask is not None:
            redraw = _redraw_for(model, pictures.mask)
            before.append(torch.where(redraw, UNDRAWN_GREY, image).to(image.dtype))
            redraw = redraw.to(model.device)
        shown = labels if family.classes else None
        draw = _versions(family, _in_range(image, model), shown, seed, pictures, redraw)
    return torch.stack(before), in_batches(draw, count, batch_size, model.device, progress), after


def picture_for(model: Model, picture: Image.Image) -> UInt8[Tensor, "c h w"]:
    """The square in the middle of a picture, in the size and colours of the model's images."""
    channels, size, _ = model.shape
    return torch.from_numpy(squared(picture, size, channels).copy())


def _redraw_for(model: Model, mask: Image.Image) -> Bool[Tensor, "h w"]:
    """Where a mask, cut and resized like its picture, is white: there the model draws anew."""
    size = model.shape[1]
    redraw = torch.from_numpy(squared(mask, size, 1)[0] >= MIN_WHITE_OF_MASK)
    if not redraw.any():
        raise ConfigError(
            f"the mask has no white in the middle square at {size} x {size} pixels, so there is nothing to draw; paint "
            "a larger area"
        )
    return redraw


def _versions(
    family: Denoising | Encoding,
    x_0: Float[Tensor, "c h w"],
    labels: Int[Tensor, " n"] | None,
    seed: int,
    pictures: Pictures,
    redraw: Bool[Tensor, "h w"] | None,
) -> Draw:
    """Versions of an image: see `diffusion.sdedit.edit`.

    A family that encodes mixes latents: sqrt(1 - s^2) of those of the image, under each label, and s of what samples
    have.  At strength s = 0 it encodes and decodes, nothing else.
    """
    network, s = family.networks[family.sampled], pictures.strength

    @torch.no_grad()
    def draw(indices: Tensor) -> Tensor:
        noise, shown = Noise(seed, indices), None if labels is None else labels[indices]
        if isinstance(family, Denoising):
            sampler = family.sampler if pictures.rounds == 1 else repainting(family.sampler, pictures.rounds)
            denoise = family.denoise(network, shown)
            return to_uint8(edit(family.process, sampler, denoise, noise, x_0, strength=s, redraw=redraw))
        own = family.encode(network, x_0.expand(len(indices), -1, -1, -1), shown)
        return to_uint8(family.decode(network, math.sqrt(1 - s**2) * own + s * family.prior(noise), noise, shown))

    return draw


def _frames(
    family: Denoising | Encoding,
    ends: Float[Tensor, "2 c h w"],
    t: Float[Tensor, " n"],
    labels: Int[Tensor, " n"] | None,
    seed: int,
) -> Draw:
    """Frames from one image (t = 0) to another (t = 1), through the noise or the latents that they are encoded as.

    The ends are what the model makes of the images, not copies.  Without a class, a conditional model that denoises
    predicts without a label.  Raises ConfigError for one that encodes.
    """
    network, of_ends = family.networks[family.sampled], None if labels is None else labels[:2]
    if isinstance(family, Denoising):
        sigmas = encoding_levels(family.process, family.sampler)
        with torch.no_grad():
            a, b = encode(sigmas, family.denoise(network, of_ends), ends)
    elif family.classes and labels is None:
        raise ConfigError("this model encodes a picture as one of a class; name that of the frames with --class")
    else:
        with torch.no_grad():
            a, b = family.encode(network, ends, of_ends)[:, :, None, None]

    @torch.no_grad()
    def draw(indices: Tensor) -> Tensor:
        between, shown = slerp(a, b, t[indices]), None if labels is None else labels[indices]
        if isinstance(family, Denoising):
            return to_uint8(decode(family.process, family.sampler, family.denoise(network, shown), between))
        return to_uint8(family.decode(network, between.flatten(1), Noise(seed, indices), shown))

    return draw


def _in_range(images: UInt8[Tensor, "*n c h w"], model: Model) -> Float[Tensor, "*n c h w"]:
    return images.to(model.device).float() / 127.5 - 1
