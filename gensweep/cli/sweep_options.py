"""Options that commands share: overrides, and the places of sweeps and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gensweep.sweep.continuation import SWEEPS

C = TypeVar("C", bound=Callable[..., Any])


root_option = click.option(
    "--sweeps",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=SWEEPS,
    show_default=True,
    help="Folder with the folders of all sweeps.",
)


storage_option = click.option(
    "--storage",
    metavar="URL",
    help="Place for checkpoints and a copy of the log, such as s3://bucket/sweeps.  [default: the sweep's folder]",
)


price_option = click.option(
    "--price",
    metavar="AMOUNT/h",
    help="Price of one device for an hour, such as 2.50/h or 2.50EUR/h, to show costs as money.  "
    "[default: resources.price of the file]",
)


def set_option(help: str) -> Callable[[C], C]:
    """`--set`, passed to the command as `overrides`."""
    return click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=help)


def override_options(command: C) -> C:
    """`--set` and `--scale`."""
    scale = click.option(
        "--scale",
        metavar="NAME",
        help="Apply the overrides that the file lists under scales.NAME.",
    )
    change = set_option("Change one value, for example --set diffusion.timesteps=200. May be given several times.")
    return scale(change(command))
