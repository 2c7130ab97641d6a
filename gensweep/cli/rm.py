"""`gensweep rm`: remove a sweep, or only its checkpoints."""

from __future__ import annotations

from pathlib import Path

import click

from gensweep.cli.sweep_options import root_option


@click.command()
@click.argument("name", metavar="SWEEP")
@click.option("--checkpoints", is_flag=True, help="Remove only the checkpoints; scores and pictures stay.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@root_option
def rm(name: str, checkpoints: bool, yes: bool, root: Path) -> None:
    """Remove a sweep, also from its storage. Shows the space that it frees, and asks first.

    SWEEP is a sweep's name, path or URL. MLflow keeps the runs of the sweep.

    \b
    Examples:
      gensweep rm quickstart
      gensweep rm quickstart --checkpoints             keep scores and pictures
      gensweep rm s3://bucket/sweeps/ddpm-cifar10 --yes
    """
    from gensweep.errors import ConfigError, GensweepError
    from gensweep.report.wording import counted, size
    from gensweep.sweep.housekeeping import disk_use, remove, remove_checkpoints
    from gensweep.sweep.stored_sweeps import find_sweep

    sweep = find_sweep(name, root)
    if sweep.state.status == "running":
        raise GensweepError(f"{sweep.name} is running; end it with Ctrl-C, then try again")
    if checkpoints and (left := sweep.state.unfinished):
        raise ConfigError(
            f"{counted(len(left), 'trial')} of {sweep.name} can resume and need their checkpoints; finish them "
            f"(gensweep tune --resume {name}), or remove the whole sweep: gensweep rm {name}"
        )
    try:
        use = disk_use(sweep.folder)
    except OSError as error:
        raise GensweepError(f"the storage of {sweep.name} cannot be read, so nothing was removed: {error}") from error
    what = (
        f"the checkpoints of {sweep.name}" if checkpoints else f"{sweep.name} ({counted(len(sweep.trials), 'trial')})"
    )
    freed = size(use.checkpoints if checkpoints else use.total)
    if not yes:
        click.confirm(f"Remove {what} from {sweep.folder.root}? This frees {freed}.", abort=True, err=True)
    (remove_checkpoints if checkpoints else remove)(sweep.folder)
    click.echo(f"Removed {what}: {freed} freed", err=True)
