"""Options that the commands which start training share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["override_options", "storage_option"]

C = TypeVar("C", bound=Callable[..., Any])


def override_options(command: C) -> C:
    """`--set` and `--scale`."""
    decorators = (
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change one value, for example --set diffusion.timesteps=200. May be given several times.",
        ),
        click.option("--scale", metavar="NAME", help="Apply the overrides that the file lists under scales.NAME."),
    )
    for decorate in decorators:
        command = decorate(command)
    return command


def storage_option(command: C) -> C:
    """`--sweeps`: the folder of all sweeps, and `--storage`: where Ray keeps checkpoints."""
    decorators = (
        click.option(
            "--sweeps",
            "root",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("sweeps"),
            show_default=True,
            help="Folder that holds one folder a sweep.",
        ),
        click.option(
            "--storage",
            metavar="URL",
            help="Where checkpoints go if not in the sweep's folder, for example s3://bucket/sweeps.",
        ),
    )
    for decorate in decorators:
        command = decorate(command)
    return command
