"""`gensweep mv`: rename a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from gensweep.cli.sweep_options import root_option


@click.command()
@click.argument("name", metavar="SWEEP")
@click.argument("new_name")
@root_option
def mv(name: str, new_name: str, root: Path) -> None:
    """Rename a sweep, also in its storage.

    SWEEP is a sweep's name, path or URL. Runs that MLflow has already keep their names.

    \b
    Examples:
      gensweep mv quickstart digits-first-try
      gensweep mv s3://bucket/sweeps/ddpm-cifar10 ddpm-old
    """
    from gensweep.sweep.housekeeping import rename
    from gensweep.sweep.stored_sweeps import find_sweep

    sweep = find_sweep(name, root)
    target = rename(sweep.folder, new_name)
    click.echo(f"Renamed {sweep.name} to {target.name}; it is in {target.root}", err=True)
