"""Images that a trained model makes of a user's pictures: versions of one, or frames from one to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from gensweep.build.model import Model, in_batches, labels_of
from gensweep.data.picture_decoding import squared
from gensweep.diffusion.samplers.sampler import Denoise
from gensweep.diffusion.sdedit import edit
from gensweep.editing.interpolation import decode, encode, slerp, visited
from gensweep.errors import ConfigError
from gensweep.families.family import Denoising
from gensweep.metrics.quantisation import to_uint8
from gensweep.noise import Noise

__all__ = ["Pictures", "draw_from_pictures", "edit_samples", "interpolate_samples", "picture_for", "redraw_for"]

Progress = Callable[[int, int], None]
#: A pixel of a mask is white if its value, of 255, is at least this.
MIN_WHITE_OF_MASK = 128
#: The value, of 255, of pixels that are shown as not yet drawn.
UNDRAWN_GREY = 128


@dataclass(frozen=True)
class Pictures:
    """What the user wants to begin with: `image` alone, with a `mask`, or on the way to `other`."""

    image: Image.Image
    strength: float
    mask: Image.Image | None
    other: Image.Image | None


def draw_from_pictures(
    model: Model,
    pictures: Pictures,
    count: int,
    *,
    class_name: str | None,
    seed: int,
    batch_size: int,
    progress: Progress,
) -> tuple[UInt8[Tensor, "b c h w"], UInt8[Tensor, "n c h w"], UInt8[Tensor, "a c h w"]]:
    """Images to show before, the images drawn, and images to show after them.

    Before come the picture, as the model gets it, and the picture with the masked part in grey.
    """
    image = picture_for(model, pictures.image)
    if pictures.other is not None:
        other = picture_for(model, pictures.other)
        frames = interpolate_samples(
            model, image, other, count, class_name=class_name, batch_size=batch_size, progress=progress
        )
        return image[None], frames, other[None]
    redraw = None if pictures.mask is None else redraw_for(model, pictures.mask)
    drawn = edit_samples(
        model,
        image,
        count,
        strength=pictures.strength,
        redraw=redraw,
        class_name=class_name,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    shown = [image] if redraw is None else [image, torch.where(redraw, UNDRAWN_GREY, image).to(image.dtype)]
    return torch.stack(shown), drawn, image.new_empty(0, *image.shape)


def picture_for(model: Model, picture: Image.Image) -> UInt8[Tensor, "c h w"]:
    """The square in the middle of a picture, in the size and colours of the model's images."""
    channels, size, _ = model.checkpoint.shape
    return torch.from_numpy(squared(picture, size, channels).copy())


def redraw_for(model: Model, mask: Image.Image) -> Bool[Tensor, "h w"]:
    """Where a mask, cut and resized like its picture, is white: there the model draws anew.

    Raises ConfigError if nothing of it is left at the model's size.
    """
    size = model.checkpoint.shape[1]
    redraw = torch.from_numpy(squared(mask, size, 1)[0] >= MIN_WHITE_OF_MASK)
    if not redraw.any():
        raise ConfigError(
            f"the mask has no white left in the middle square at {size} x {size} pixels, so there is nothing to draw; "
            "paint a larger area"
        )
    return redraw


def edit_samples(
    model: Model,
    image: UInt8[Tensor, "c h w"],
    count: int,
    *,
    strength: float,
    redraw: Bool[Tensor, "h w"] | None = None,
    class_name: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> UInt8[Tensor, "n c h w"]:
    """Versions 0..count-1 of an image, of one class or of all in turn; see `diffusion.sdedit.edit`.

    At strength 1 and without a mask they are the images that `draw_samples` draws.  Raises ConfigError for a family
    that does not denoise, for a strength outside [0, 1], and for a class that the model does not know.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength {strength:g}: it must lie in 0..1; 0 keeps the image and 1 forgets it")
    family, labels = _denoising(model), labels_of(model, count, class_name)
    x_0 = _in_range(image, model)
    redraw = None if redraw is None else redraw.to(model.device)

    @torch.no_grad()
    def draw(indices: Tensor) -> Tensor:
        noise, denoise = Noise(seed, indices), _denoise(model, family, labels[indices])
        return to_uint8(edit(family.process, family.sampler, denoise, noise, x_0, strength=strength, redraw=redraw))

    return in_batches(draw, count, batch_size, model.device, progress)


def interpolate_samples(
    model: Model,
    first: UInt8[Tensor, "c h w"],
    second: UInt8[Tensor, "c h w"],
    count: int,
    *,
    class_name: str | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> UInt8[Tensor, "n c h w"]:
    """`count` frames from one image to another, both ends included, through the noise that they come from.

    The ends are what the model makes of the images, not copies.  Without a class, a conditional model predicts without
    a label.  Raises ConfigError for a family that does not denoise, a sampler that draws noise, fewer than two frames,
    and for a class that the model does not know.
    """
    if count < 2:
        raise ConfigError(f"{count} frame: an interpolation has two ends; take at least 2 frames")
    family = _denoising(model)
    labels = None if class_name is None else labels_of(model, count, class_name)
    sigmas = visited(family.process, family.sampler)

    @torch.no_grad()
    def codes() -> Tensor:
        pair = torch.stack([_in_range(first, model), _in_range(second, model)])
        return encode(sigmas, _denoise(model, family, None if labels is None else labels[:2]), pair)

    a, b = codes()
    t = torch.linspace(0, 1, count, dtype=torch.float64, device=model.device)

    @torch.no_grad()
    def draw(indices: Tensor) -> Tensor:
        denoise = _denoise(model, family, None if labels is None else labels[indices])
        return to_uint8(decode(family.process, family.sampler, denoise, slerp(a, b, t[indices])))

    return in_batches(draw, count, batch_size, model.device, progress)


def _denoising(model: Model) -> Denoising:
    if not isinstance(model.family, Denoising):
        raise ConfigError(
            f"a model of family {model.trial.kind('family')!r} draws an image in one go and cannot begin with one; "
            "name a run of a diffusion model"
        )
    return model.family


def _denoise(model: Model, family: Denoising, labels: Tensor | None) -> Denoise:
    network = model.family.networks[model.family.sampled]
    return family.denoise(network, labels if model.family.classes else None)


def _in_range(image: UInt8[Tensor, "c h w"], model: Model) -> Tensor:
    return image.to(model.device).float() / 127.5 - 1
