"""Images that a trained model makes from a user's pictures: variations of one, or frames between two."""

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
from gensweep.families.family import Denoising, Encoding
from gensweep.metrics.extractors import to_uint8
from gensweep.noise import Noise

#: Smallest value of a white pixel in a mask, of 255.
MIN_WHITE_OF_MASK = 128
#: Value of pixels that are shown as not yet drawn, of 255.
UNDRAWN_GREY = 128
#: Indices of images (n,) -> the images (n, c, h, w), uint8.
Draw = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pictures:
    """The user's request: `image` alone, with a `mask`, or interpolated to `other`.

    `strength` in [0, 1] is the share of the image, or of its latents, that is first replaced by noise.
    """

    image: Image.Image
    strength: float
    mask: Image.Image | None = None
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
    """Images to show before, images 0..count-1 of a seed, and images to show after.

    Before come the picture at the model's size, and the picture with the masked part in grey.  At strength 1 without a
    mask, the images equal those of `Model.sample`.
    Raises ConfigError for pictures that do not fit each other, the family or its sampler, and for an unknown class.
    """
    family = model.family
    if not isinstance(family, Denoising | Encoding):
        raise ConfigError(
            f"a model of family {model.config.kind('family')!r} draws an image in one pass and cannot start from one; "
            "name a run of a family that denoises or encodes"
        )
    if pictures.mask is not None and not isinstance(family, Denoising):
        raise ConfigError(
            f"a model of family {model.config.kind('family')!r} encodes whole pictures and cannot redraw a part; "
            "leave --inpaint out, or name a run of a family that denoises"
        )
    image = picture_for(model, pictures.image)
    before, after = [image], image.new_empty(0, *image.shape)
    if pictures.other is not None:
        if count < 2:
            raise ConfigError(f"{count} frame: an interpolation needs at least 2 frames")
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
    """The central square of a picture, in the size and colours of the model's images."""
    channels, size, _ = model.shape
    return torch.from_numpy(squared(picture, size, channels).copy())


def _redraw_for(model: Model, mask: Image.Image) -> Bool[Tensor, "h w"]:
    """True where a mask, cropped and resized like its picture, is white: these pixels are redrawn."""
    size = model.shape[1]
    redraw = torch.from_numpy(squared(mask, size, 1)[0] >= MIN_WHITE_OF_MASK)
    if not redraw.any():
        raise ConfigError(
            f"the mask has no white in the central square at {size} x {size} pixels, so there is nothing to redraw; "
            "paint a larger area"
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
    """Variations of an image: see `diffusion.sdedit.edit`.

    A family that encodes mixes latents: sqrt(1 - s^2) times the image's, under each label, plus s times random ones.
    At strength s = 0 it only encodes and decodes.
    """
    network, s = family.networks[family.sampled], pictures.strength

    @torch.no_grad()
    def draw(indices: Tensor) -> Tensor:
        noise, shown = Noise(seed, indices), None if labels is None else labels[indices]
        if isinstance(family, Denoising):
            denoise = family.denoise(network, shown)
            return to_uint8(edit(family.process, family.sampler, denoise, noise, x_0, strength=s, redraw=redraw))
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
    """Frames from one image (t = 0) to another (t = 1), through their noise or latents.

    The ends are the model's versions of the images, not copies.  Without a class, a conditional denoiser predicts
    without a label.  Raises ConfigError for a conditional model that encodes.
    """
    network, of_ends = family.networks[family.sampled], None if labels is None else labels[:2]
    if isinstance(family, Denoising):
        sigmas = encoding_levels(family.process, family.sampler)
        with torch.no_grad():
            a, b = encode(sigmas, family.denoise(network, of_ends), ends)
    elif family.classes and labels is None:
        raise ConfigError("this model needs a class to encode a picture; add --class")
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
