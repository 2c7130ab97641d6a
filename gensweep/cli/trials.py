"""`gensweep trials`: one line per trial."""

from __future__ import annotations

from pathlib import Path

import click

from gensweep.cli.sweep_options import root_option
from gensweep.report.output import format_option, print_remark, print_rows, print_warnings


@click.command()
@click.argument("sweep", required=False)
@root_option
@format_option
def trials(sweep: str | None, root: Path, format: str) -> None:
    """List the trials of a sweep.

    SWEEP is a sweep's name, path or URL, by default the newest. One line per trial: status, best score, cost and
    settings that differ. A star marks the best trial; a failed trial shows its cause.

    \b
    Examples:
      gensweep trials
      gensweep trials ddpm-cifar10 --format json
      gensweep trials ddpm-cifar10 --format csv > trials.csv
    """
    from gensweep.report.caveats import trial_warnings
    from gensweep.report.export import trial_rows, trials_json
    from gensweep.sweep.stored_sweeps import find_sweep
    from gensweep.tracking.sync import sync_all

    found = find_sweep(sweep, root)
    print_rows(trial_rows(found) if format == "table" else trials_json(found), format)
    for trial in found.trials:
        print_warnings(f"{trial.trial} {warning}" for warning in trial_warnings(trial))
    states = [trial.status for trial in found.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "no trials yet"
    print_remark(f"{found.name} ({found.state.status}): {counts}")
    sync_all(root)
