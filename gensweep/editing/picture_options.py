"""The options of `gensweep sample` that begin with a picture, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gensweep.errors import ConfigError

if TYPE_CHECKING:
    from gensweep.editing.drawing import Pictures

__all__ = ["EditingOptions", "editing_options"]

C = TypeVar("C", bound=Callable[..., Any])

#: Share of the process's steps whose noise a picture gets by default; 1 would leave nothing of it.
DEFAULT_STRENGTH = 0.5
#: The same with a mask, whose white part should not depend on what was there.
DEFAULT_MASK_STRENGTH = 1.0


@dataclass(frozen=True)
class EditingOptions:
    """The options, as the user gave them."""

    init_image: Path | None
    strength: float | None
    inpaint: Path | None
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
        mask = None if self.inpaint is None else read_picture(self.inpaint)
        if mask is not None and mask.size != image.size:
            width, height = image.size
            raise ConfigError(
                f"--inpaint {self.inpaint}: the mask has {mask.size[0]} x {mask.size[1]} pixels and the picture has "
                f"{width} x {height}; make the mask as large as the picture"
            )
        if mask is not None and not any(mask.convert("L").histogram()[MIN_WHITE_OF_MASK:]):
            raise ConfigError(
                f"--inpaint {self.inpaint}: the mask has no white, so there is nothing to draw; paint a part white"
            )
        strength = self.strength
        if strength is None:
            strength = DEFAULT_STRENGTH if mask is None else DEFAULT_MASK_STRENGTH
        return Pictures(image, strength, mask, None if self.interpolate is None else read_picture(self.interpolate))

    def _check(self) -> None:
        strength = self.strength
        others = (("--strength", strength), ("--inpaint", self.inpaint))
        problems = []
        if self.init_image is None:
            problems += [
                f"{option} needs a picture to begin with; name one with --init-image FILE"
                for option, value in (*others, ("--interpolate", self.interpolate))
                if value is not None
            ]
        if strength is not None and not 0 <= strength <= 1:
            problems.append(f"--strength {strength:g} must lie in 0..1; 0 keeps the picture and 1 forgets it")
        if self.interpolate is not None:
            problems += [
                f"{option} does not go with --interpolate; leave one of them out"
                for option, value in others
                if value is not None
            ]
        if problems:
            raise ConfigError(problems)


def editing_options(command: C) -> C:
    """The options of `EditingOptions`, handed to the command one by one."""
    file = click.Path(path_type=Path)
    options = [
        click.option("--init-image", type=file, metavar="FILE", help="Begin with this picture (diffusion models)."),
        click.option(
            "--strength",
            type=float,
            metavar="0..1",
            help=f"How much of it is lost in noise first: 0 nothing, 1 all of it.  [default: {DEFAULT_STRENGTH}; "
            f"{DEFAULT_MASK_STRENGTH:g} with --inpaint]",
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
