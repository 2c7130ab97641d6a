"""The options of `gensweep sample` that begin with a picture, checked before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gensweep.errors import ConfigError
from gensweep.report.output import option_bundle

if TYPE_CHECKING:
    from gensweep.editing.drawing import Pictures

#: Share of the process's steps whose noise a picture gets by default; 1 would leave nothing of it.
DEFAULT_STRENGTH = 0.5
#: The same with a mask, whose white part should not depend on what was there.
DEFAULT_MASK_STRENGTH = 1.0
#: Rounds with a mask; beyond a few dozen nothing changes.
MAX_ROUNDS = 100


@dataclass(frozen=True)
class EditingOptions:
    """The options, as the user gave them."""

    init_image: Path | None
    strength: float | None
    inpaint: Path | None
    rounds: int | None
    interpolate: Path | None

    def files(self) -> list[Path]:
        """The files that are read."""
        return [file for file in (self.init_image, self.inpaint, self.interpolate) if file is not None]

    def read(self) -> Pictures | None:
        """The pictures that the options name, or None if there are none.

        Raises ConfigError for options that do not go together, a strength outside 0..1, and files that cannot be used.
        """
        self._check()
        if self.init_image is None:
            return None
        from gensweep.data.picture_decoding import read_picture
        from gensweep.editing.drawing import MIN_WHITE_OF_MASK, Pictures

        image = read_picture(self.init_image)
        if self.interpolate is not None:
            return Pictures(image, DEFAULT_STRENGTH, other=read_picture(self.interpolate))
        if self.inpaint is None:
            return Pictures(image, DEFAULT_STRENGTH if self.strength is None else self.strength)
        mask = read_picture(self.inpaint)
        if mask.size != image.size:
            (width, height), (mask_width, mask_height) = image.size, mask.size
            raise ConfigError(
                f"--inpaint {self.inpaint}: the mask has {mask_width} x {mask_height} pixels and the picture has "
                f"{width} x {height}; make the mask as large as the picture"
            )
        if not any(mask.convert("L").histogram()[MIN_WHITE_OF_MASK:]):
            raise ConfigError(
                f"--inpaint {self.inpaint}: the mask has no white, so there is nothing to draw; paint a part white"
            )
        strength = DEFAULT_MASK_STRENGTH if self.strength is None else self.strength
        return Pictures(image, strength, mask, rounds=self.rounds or 1)

    def _check(self) -> None:
        values = {
            "--strength": self.strength,
            "--inpaint": self.inpaint,
            "--rounds": self.rounds,
            "--interpolate": self.interpolate,
        }
        given = [option for option, value in values.items() if value is not None]
        problems = []
        if self.init_image is None:
            problems += [f"{option} needs a picture to begin with; name one with --init-image FILE" for option in given]
        if self.strength is not None and not 0 <= self.strength <= 1:
            problems.append(f"--strength {self.strength:g} must lie in 0..1; 0 keeps the picture and 1 forgets it")
        if self.rounds is not None and self.init_image and not (self.inpaint or self.interpolate):
            problems.append("--rounds makes the kept and the drawn part agree; say what to draw with --inpaint MASK")
        if self.interpolate is not None:
            given.remove("--interpolate")
            problems += [f"{option} does not go with --interpolate; leave one of them out" for option in given]
        if problems:
            raise ConfigError(problems)


FILE = click.Path(path_type=Path)
#: The options of `EditingOptions`, handed to the command one by one.
editing_options = option_bundle(
    click.option("--init-image", type=FILE, metavar="FILE", help="Begin with this picture (diffusion, VAE)."),
    click.option(
        "--strength",
        type=float,
        metavar="0..1",
        help=f"How much of it is lost in noise first: 0 nothing, 1 all of it.  [default: {DEFAULT_STRENGTH}; "
        f"{DEFAULT_MASK_STRENGTH:g} with --inpaint]",
    ),
    click.option(
        "--inpaint", type=FILE, metavar="MASK", help="Draw anew where MASK, as large as FILE, is white; keep the rest."
    ),
    click.option(
        "--rounds",
        type=click.IntRange(1, MAX_ROUNDS),
        metavar="N",
        help="With --inpaint: times to go through each part of the noise levels (RePaint), so that what is drawn goes "
        "with what is kept; an image takes N times as long.  [default: 1]",
    ),
    click.option(
        "--interpolate", type=FILE, metavar="FILE_B", help="Frames on the way from --init-image to this picture."
    ),
)
