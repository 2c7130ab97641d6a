"""Write generated images: one grid, or a folder with one file per image."""

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
    """Check the output name before any of `count` images is generated.

    Raises ConfigError if it is neither a .png file nor a folder, if it would overwrite a file in `read`, or if the
    folder holds other pictures.  Raises GensweepError if it is not writable.
    """
    grid = output.suffix.lower() == ".png"
    if not grid and not output.is_dir() and (output.suffix or output.is_file()):
        raise ConfigError(f"--output {output}: a file must end in .png; name a folder to get one file per image")
    if grid and output.is_dir():
        raise ConfigError(f"--output {output} is a folder; name another file or folder")
    for file in read:
        if output.resolve() in (file.resolve(), file.resolve().parent):
            raise ConfigError(f"--output {output} could overwrite {file}; name another file or folder")
    names = {f"{index:06d}.png" for index in range(count)}
    if not grid and output.is_dir() and (others := sorted({*filter(is_picture, list_files(output).files)} - names)):
        raise ConfigError(
            f"--output {output} already holds pictures, such as {others[0]}, which would mix with {count} new ones; "
            "name another folder, or move them"
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

    The grid also shows `before` and `after`; with `after`, the images form one row.  With `classes` (labels and
    names), the grid has one named row per class.
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
