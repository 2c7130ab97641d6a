"""`gensweep trials`: one line a trial."""

from __future__ import annotations

from pathlib import Path

import click

from gensweep.cli.on_cluster import cluster_option
from gensweep.cli.sweep_options import root_option
from gensweep.report.completion import sweep_names
from gensweep.report.output import format_option, print_rows, print_warnings
from gensweep.report.terminal import print_remark


@click.command()
@click.argument("sweep", required=False, shell_complete=sweep_names)
@cluster_option
@root_option
@format_option
def trials(sweep: str | None, root: Path, format: str) -> None:
    """List the trials of a sweep.

    SWEEP is a sweep's name or run id, by default the newest. One line a trial: how it ended, its best score, what it
    cost, what differs; the best one is marked with a star, a failed one shows its cause.

    \b
    Examples:
      gensweep trials
      gensweep trials ddpm-cifar10 --format json
      gensweep trials ddpm-cifar10 --format csv > trials.csv
    """
    from gensweep.api.verdicts import sweep_record
    from gensweep.report.collapse import trial_warnings
    from gensweep.report.export import trial_json, trial_rows
    from gensweep.report.spreadsheet import trials_sheet

    found = sweep_record(sweep, root=root)
    if format == "table":
        print_rows(trial_rows(found), format)
    else:
        rows = trials_sheet(found) if format == "csv" else [trial_json(trial) for trial in found.trials]
        print_rows(rows, format)
    for trial in found.trials:
        print_warnings(f"{trial.trial} {warning}" for warning in trial_warnings(trial))
    states = [trial.status for trial in found.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "no trials yet"
    print_remark(f"{found.name} ({found.status}): {counts}")
