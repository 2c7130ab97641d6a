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
    type=float,
    metavar="0..1",
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

    RUN is SWEEP (its best score), SWEEP/TRIAL, a checkpoint folder, such as ./FOLDER, or a registered model.

    \b
    Examples:
      gensweep edit ddpm-cifar10 car.jpg --strength 0.6 --class ship
      gensweep edit ddpm-cifar10 car.jpg --inpaint mask.png --rounds 10
      gensweep edit ddpm-cifar10 car.jpg --interpolate ship.jpg -n 9
    """
    from gensweep.report.sample_files import check_output

    others = {"--strength": strength, "--inpaint": inpaint, "--rounds": rounds}
    problems = [
        f"{option} does not go with --interpolate; leave one of them out"
        for option, value in others.items()
        if interpolate is not None and value is not None
    ]
    if strength is not None and not 0 <= strength <= 1:
        problems.append(f"--strength {strength:g} must lie in 0..1; 0 keeps the picture and 1 forgets it")
    if rounds is not None and not (inpaint or interpolate):
        problems.append("--rounds makes the kept and the drawn part agree; say what to draw with --inpaint MASK")
    guided = how["guidance"] is not None or any(each.startswith("family.guidance") for each in how["overrides"])
    if interpolate is not None and how["class_name"] is None and guided:
        problems.append("guidance: without a class an interpolation asks without a label; add --class, or leave it out")
    if problems:
        raise ConfigError(problems)
    check_output(output, count, [file for file in (picture, inpaint, interpolate) if file is not None])
    pictures = _read(picture, strength, inpaint, rounds, interpolate)
    draw_near_gpus(draw_pictures, run, count, output, pictures, **how)


def draw_pictures(model: Model, count: int, output: Path, pictures: Pictures, **drawing: Any) -> list[Path]:
    """Draw images that begin with pictures."""
    from gensweep.extras.editing.drawing import draw_from_pictures
    from gensweep.report.sample_files import write_pictures

    before, images, after = draw_from_pictures(model, pictures, count, **drawing)
    return write_pictures(images, output, before=before, after=after)


def _read(
    picture: Path, strength: float | None, inpaint: Path | None, rounds: int | None, interpolate: Path | None
) -> Pictures:
    """The pictures in files.  Raises ConfigError for files that cannot be used."""
    from gensweep.data.picture_decoding import read_picture
    from gensweep.extras.editing.drawing import MIN_WHITE_OF_MASK, Pictures

    image = read_picture(picture)
    if interpolate is not None:
        return Pictures(image, DEFAULT_STRENGTH, other=read_picture(interpolate))
    if inpaint is None:
        return Pictures(image, DEFAULT_STRENGTH if strength is None else strength)
    mask = read_picture(inpaint)
    if mask.size != image.size:
        (width, height), (mask_width, mask_height) = image.size, mask.size
        raise ConfigError(
            f"--inpaint {inpaint}: the mask has {mask_width} x {mask_height} pixels and the picture has "
            f"{width} x {height}; make the mask as large as the picture"
        )
    if not any(mask.convert("L").histogram()[MIN_WHITE_OF_MASK:]):
        raise ConfigError(
            f"--inpaint {inpaint}: the mask has no white, so there is nothing to draw; paint a part white"
        )
    return Pictures(image, DEFAULT_MASK_STRENGTH if strength is None else strength, mask, rounds=rounds or 1)
