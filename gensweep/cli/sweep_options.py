"""Options that commands share: changes to a configuration, and where sweeps and checkpoints lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from gensweep.report.completion import space_names
from gensweep.sweep.continuation import SWEEPS

C = TypeVar("C", bound=Callable[..., Any])


class SpaceFile(click.Path):
    """A YAML file, or the name of a search space that comes with gensweep."""

    name = "file"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Spaces by name, and files."""
        return space_names(ctx, param, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path of the file."""
        from gensweep.shipped import space_file

        return value if isinstance(value, Path) else space_file(value)


root_option = click.option(
    "--sweeps",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=SWEEPS,
    show_default=True,
    help="Folder that holds one folder a sweep.",
)


storage_option = click.option(
    "--storage",
    metavar="URL",
    help="Where checkpoints and a copy of the log go, for example s3://bucket/sweeps.  [default: the sweep's folder]",
)


def set_option(help: str) -> Callable[[C], C]:
    """`--set`, handed to the command as `overrides`."""
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
