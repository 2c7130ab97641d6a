"""`gensweep edit`: images made from a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.sample import draw_near_gpus, drawing_options
from gensweep.errors import ConfigError

if TYPE_CHECKING:
    from gensweep.build.model import Model
    from gensweep.extras.editing.drawing import Pictures

#: Default noise level, as a share of the process; 1 would leave nothing of the picture.
DEFAULT_STRENGTH = 0.5
#: The same with a mask: the result should not depend on the old content of the white part.
DEFAULT_MASK_STRENGTH = 1.0
FILE = click.Path(path_type=Path)


@click.command()
@click.argument("run")
@click.argument("picture", type=FILE)
@click.option("-n", "--count", type=click.IntRange(1), default=8, show_default=True, help="How many images.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    help=f"How much of it is replaced by noise first: 0 nothing, 1 all.  [default: {DEFAULT_STRENGTH}; "
    f"{DEFAULT_MASK_STRENGTH:g} with --inpaint]",
)
@click.option(
    "--inpaint", type=FILE, metavar="MASK", help="Redraw where MASK, as large as PICTURE, is white; keep the rest."
)
@click.option("--interpolate", type=FILE, metavar="PICTURE_B", help="Frames between PICTURE and this one.")
@drawing_options
def edit(
    run: str,
    picture: Path,
    count: int,
    strength: float | None,
    inpaint: Path | None,
    interpolate: Path | None,
    output: Path,
    **how: Any,
) -> None:
    """Draw variations of a picture, redraw a part of it, or interpolate to another one.

    RUN is SWEEP (its best score), SWEEP/TRIAL, a folder with a model, such as ./FOLDER, or a registered model.

    \b
    Examples:
      gensweep edit ddpm-cifar10 car.jpg --strength 0.6 --class ship
      gensweep edit ddpm-cifar10 car.jpg --inpaint mask.png
      gensweep edit ddpm-cifar10 car.jpg --interpolate ship.jpg -n 9
    """
    from gensweep.data.picture_decoding import read_picture
    from gensweep.extras.editing.drawing import Pictures
    from gensweep.report.sample_files import check_output

    others = {"--strength": strength, "--inpaint": inpaint}
    problems = [
        f"{option} cannot be combined with --interpolate; leave one of them out"
        for option, value in others.items()
        if interpolate is not None and value is not None
    ]
    guided = how["guidance"] is not None or any(each.startswith("family.guidance") for each in how["overrides"])
    if interpolate is not None and how["class_name"] is None and guided:
        problems.append("guidance: an interpolation without a class has no label; add --class, or leave it out")
    if problems:
        raise ConfigError(problems)
    check_output(output, count, [file for file in (picture, inpaint, interpolate) if file is not None])
    image = read_picture(picture)
    mask, other = (None if file is None else read_picture(file) for file in (inpaint, interpolate))
    if mask is not None and mask.size != image.size:
        sizes = [f"{width} x {height}" for width, height in (mask.size, image.size)]
        raise ConfigError(
            f"--inpaint {inpaint}: the mask has {sizes[0]} pixels and the picture {sizes[1]}; give both the same size"
        )
    if strength is None:
        strength = DEFAULT_STRENGTH if mask is None else DEFAULT_MASK_STRENGTH
    pictures = Pictures(image, strength, mask, other)
    draw_near_gpus(draw_pictures, run, count, output, pictures, **how)


def draw_pictures(model: Model, count: int, output: Path, pictures: Pictures, **drawing: Any) -> list[Path]:
    """Draw images from pictures."""
    from gensweep.extras.editing.drawing import draw_from_pictures
    from gensweep.report.sample_files import write_pictures

    before, images, after = draw_from_pictures(model, pictures, count, **drawing)
    return write_pictures(images, output, before=before, after=after)
