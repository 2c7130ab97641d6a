"""`gensweep edit`: images that begin with a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.sample import draw_near_gpus, drawing_options
from gensweep.errors import ConfigError
from gensweep.report.completion import run_names

if TYPE_CHECKING:
    from gensweep.build.model import Model
    from gensweep.extras.editing.drawing import Pictures

#: Share of the process's steps whose noise a picture gets by default; 1 would leave nothing of it.
DEFAULT_STRENGTH = 0.5
#: The same with a mask, whose white part should not depend on what was there.
DEFAULT_MASK_STRENGTH = 1.0
#: Rounds with a mask; beyond a few dozen nothing changes.
MAX_ROUNDS = 100
FILE = click.Path(path_type=Path)


@click.command()
@click.argument("run", shell_complete=run_names)
@click.argument("picture", type=FILE)
@click.option("-n", "--count", type=click.IntRange(1), default=8, show_default=True, help="How many images.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    help=f"How much of it is lost in noise first: 0 nothing, 1 all of it.  [default: {DEFAULT_STRENGTH}; "
    f"{DEFAULT_MASK_STRENGTH:g} with --inpaint]",
)
@click.option(
    "--inpaint", type=FILE, metavar="MASK", help="Draw anew where MASK, as large as PICTURE, is white; keep the rest."
)
@click.option(
    "--rounds",
    type=click.IntRange(1, MAX_ROUNDS),
    metavar="N",
    help="With --inpaint: times to go through each part of the noise levels (RePaint), so that what is drawn goes "
    "with what is kept; an image takes N times as long.  [default: 1]",
)
@click.option("--interpolate", type=FILE, metavar="PICTURE_B", help="Frames on the way from PICTURE to this one.")
@drawing_options
def edit(
    run: str,
    picture: Path,
    count: int,
    strength: float | None,
    inpaint: Path | None,
    rounds: int | None,
    interpolate: Path | None,
    output: Path,
    **how: Any,
) -> None:
    """Draw versions of a picture, a part of it, or the way to another one.

    RUN is SWEEP (its best score), SWEEP/TRIAL, a folder with a model, such as ./FOLDER, or a registered model.

    \b
    Examples:
      gensweep edit ddpm-cifar10 car.jpg --strength 0.6 --class ship
      gensweep edit ddpm-cifar10 car.jpg --inpaint mask.png --rounds 10
      gensweep edit ddpm-cifar10 car.jpg --interpolate ship.jpg -n 9
    """
    from gensweep.data.picture_decoding import read_picture
    from gensweep.extras.editing.drawing import Pictures
    from gensweep.report.sample_files import check_output

    others = {"--strength": strength, "--inpaint": inpaint, "--rounds": rounds}
    problems = [
        f"{option} does not go with --interpolate; leave one of them out"
        for option, value in others.items()
        if interpolate is not None and value is not None
    ]
    if rounds is not None and not (inpaint or interpolate):
        problems.append("--rounds makes the kept and the drawn part agree; say what to draw with --inpaint MASK")
    guided = how["guidance"] is not None or any(each.startswith("family.guidance") for each in how["overrides"])
    if interpolate is not None and how["class_name"] is None and guided:
        problems.append("guidance: without a class an interpolation asks without a label; add --class, or leave it out")
    if problems:
        raise ConfigError(problems)
    check_output(output, count, [file for file in (picture, inpaint, interpolate) if file is not None])
    image = read_picture(picture)
    mask, other = (None if file is None else read_picture(file) for file in (inpaint, interpolate))
    if mask is not None and mask.size != image.size:
        sizes = [f"{width} x {height}" for width, height in (mask.size, image.size)]
        raise ConfigError(
            f"--inpaint {inpaint}: the mask has {sizes[0]} pixels and the picture {sizes[1]}; make them equally large"
        )
    if strength is None:
        strength = DEFAULT_STRENGTH if mask is None else DEFAULT_MASK_STRENGTH
    pictures = Pictures(image, strength, mask, rounds or 1, other)
    draw_near_gpus(draw_pictures, run, count, output, pictures, **how)


def draw_pictures(model: Model, count: int, output: Path, pictures: Pictures, **drawing: Any) -> list[Path]:
    """Draw images that begin with pictures."""
    from gensweep.extras.editing.drawing import draw_from_pictures
    from gensweep.report.sample_files import write_pictures

    before, images, after = draw_from_pictures(model, pictures, count, **drawing)
    return write_pictures(images, output, before=before, after=after)
