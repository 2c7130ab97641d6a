"""The options of `gensweep sample` that begin with a picture, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gensweep.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from gensweep.build.model import Model

__all__ = ["Pictures", "draw_from_pictures", "editing_options", "read_pictures"]

C = TypeVar("C", bound=Callable[..., Any])

#: How much is forgotten unless the user says; the part that a mask opens is forgotten altogether.
STRENGTH, STRENGTH_OF_MASK = 0.5, 1.0


@dataclass(frozen=True)
class Pictures:
    """What the user wants to begin with: `image` alone, with a `mask`, or on the way to `other`."""

    image: Image
    strength: float
    mask: Image | None
    other: Image | None


def editing_options(command: C) -> C:
    """`--init-image`, `--strength`, `--inpaint` and `--interpolate`, handed on as init_image, strength, ..."""
    file = click.Path(path_type=Path)
    options = [
        click.option("--init-image", type=file, metavar="FILE", help="Begin with this picture (diffusion models)."),
        click.option(
            "--strength",
            type=float,
            metavar="0..1",
            help=f"How much of it is lost in noise first: 0 nothing, 1 all of it.  [default: {STRENGTH}; "
            f"{STRENGTH_OF_MASK:g} with --inpaint]",
        ),
        click.option(
            "--inpaint",
            type=file,
            metavar="MASK",
            help="Draw anew where MASK, as large as FILE, is white; keep the rest.",
        ),
        click.option(
            "--interpolate", type=file, metavar="FILE_B", help="Frames on the way from --init-image to this picture."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_pictures(
    init_image: Path | None, strength: float | None, inpaint: Path | None, interpolate: Path | None
) -> Pictures | None:
    """The pictures that the options name, or None if there are none.

    Raises ConfigError for options that do not go together, a strength outside 0..1, and files that cannot be used.
    """
    _check(init_image, strength, inpaint, interpolate)
    if init_image is None:
        return None
    from gensweep.data.pictures import read_picture

    image = read_picture(init_image)
    mask = None if inpaint is None else read_picture(inpaint)
    if mask is not None and mask.size != image.size:
        width, height = image.size
        raise ConfigError(
            f"--inpaint {inpaint}: the mask has {mask.size[0]} x {mask.size[1]} pixels and the picture has "
            f"{width} x {height}; make the mask as large as the picture"
        )
    if mask is not None and not any(mask.convert("L").histogram()[128:]):
        raise ConfigError(
            f"--inpaint {inpaint}: the mask has no white, so there is nothing to draw; paint a part white"
        )
    if strength is None:
        strength = STRENGTH if mask is None else STRENGTH_OF_MASK
    return Pictures(image, strength, mask, None if interpolate is None else read_picture(interpolate))


def draw_from_pictures(
    model: Model,
    pictures: Pictures,
    count: int,
    *,
    class_name: str | None,
    seed: int,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> tuple[Tensor, Tensor, Tensor]:
    """Images to show before, the images drawn, and images to show after them, each uint8 (n, c, h, w).

    Before come the picture, as the model gets it, and the picture with the masked part in grey.
    """
    import torch

    from gensweep.editing.drawing import edit_samples, interpolate_samples, picture_for, redraw_for

    image = picture_for(model, pictures.image)
    nothing = image.new_empty(0, *image.shape)
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
    shown = [image] if redraw is None else [image, torch.where(redraw, 128, image).to(image.dtype)]
    return torch.stack(shown), drawn, nothing


def _check(init_image: Path | None, strength: float | None, inpaint: Path | None, interpolate: Path | None) -> None:
    problems = []
    if init_image is None:
        problems += [
            f"{option} needs a picture to begin with; name one with --init-image FILE"
            for option, value in (("--strength", strength), ("--inpaint", inpaint), ("--interpolate", interpolate))
            if value is not None
        ]
    if strength is not None and not 0 <= strength <= 1:
        problems.append(f"--strength {strength:g} must lie in 0..1; 0 keeps the picture and 1 forgets it")
    if interpolate is not None:
        problems += [
            f"{option} does not go with --interpolate; leave one of them out"
            for option, value in (("--strength", strength), ("--inpaint", inpaint))
            if value is not None
        ]
    if problems:
        raise ConfigError(problems)
