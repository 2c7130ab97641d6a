"""Files of drawn images: one grid, or a folder with one file an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from gensweep.data.picture_files import is_picture, list_files
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import write_problem
from gensweep.training.result_files import write_class_grid, write_grid, write_picture


def check_output(output: Path, count: int, read: Iterable[Path] = ()) -> None:
    """Raise ConfigError, before any of `count` images is drawn, if the name is neither a .png file nor a folder.

    Or if one of the files that are `read` could be written over, or if the folder holds pictures that would stay beside
    the new ones; GensweepError if nothing can be written there.
    """
    grid = output.suffix.lower() == ".png"
    if not grid and not output.is_dir() and (output.suffix or output.is_file()):
        raise ConfigError(f"--output {output}: a file must end in .png; name a folder to get one file an image")
    if grid and output.is_dir():
        raise ConfigError(f"--output {output}: it is a folder; give another name to a file, or to a folder")
    for file in read:
        if output.resolve() in (file.resolve(), file.resolve().parent):
            raise ConfigError(f"--output {output}: {file} could be written over; name another file or folder")
    names = {f"{index:06d}.png" for index in range(count)}
    if not grid and output.is_dir() and (others := sorted({*filter(is_picture, list_files(output).files)} - names)):
        raise ConfigError(
            f"--output {output}: it holds other pictures, such as {others[0]}, among which these {count} would come; "
            "name another folder, or take them away"
        )
    if (problem := write_problem(output.parent if grid else output)) is not None:
        raise GensweepError(f"--output {output}: {problem}")


def write_pictures(
    images: UInt8[Tensor, "n c h w"],
    output: Path,
    *,
    before: UInt8[Tensor, "b c h w"] | None = None,
    after: UInt8[Tensor, "a c h w"] | None = None,
    classes: tuple[Int[Tensor, " n"], Sequence[str]] | None = None,
) -> list[Path]:
    """Write images to a .png grid, or to a folder as 000000.png, 000001.png, ...

    `before` and `after` are shown in the grid only; with something after them the images are one row.  With `classes`,
    labels and names, the grid has a named row a class.
    """
    if output.suffix.lower() == ".png":
        output.parent.mkdir(parents=True, exist_ok=True)
        if classes is not None:
            write_class_grid(images, *classes, output)
            return [output]
        shown = torch.cat([part for part in (before, images, after) if part is not None])
        write_grid(shown, output, columns=len(shown) if after is not None and len(after) else None)
        return [output]
    output.mkdir(parents=True, exist_ok=True)
    files = [output / f"{index:06d}.png" for index in range(len(images))]
    for image, file in zip(images, files, strict=True):
        write_picture(image, file)
    return files
