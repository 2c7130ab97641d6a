"""`gensweep sweeps`: one line per sweep."""

from __future__ import annotations

from pathlib import Path

import click

from gensweep.cli.sweep_options import root_option
from gensweep.report.output import format_option, print_remark, print_rows, print_warnings


@click.command()
@click.argument("storage", required=False)
@root_option
@format_option
def sweeps(storage: str | None, root: Path, format: str) -> None:
    """List all sweeps: status, best score, compute, size on disk and age.

    STORAGE lists the sweeps of a storage instead. The size counts the sweep's folder and its storage.

    \b
    Examples:
      gensweep sweeps
      gensweep sweeps --format csv > sweeps.csv
      gensweep sweeps s3://bucket/sweeps
      gensweep rm ddpm-cifar10 --checkpoints           free the space of checkpoints
    """
    from gensweep.report.sweep_rows import sweep_json, sweep_rows
    from gensweep.report.wording import counted, size
    from gensweep.sweep.housekeeping import disk_use, sweeps_in
    from gensweep.sweep.stored_sweeps import load_sweeps

    rows, warnings = [], []
    for sweep in load_sweeps(root=root) if storage is None else sweeps_in(storage):
        try:
            use = disk_use(sweep.folder)
        except OSError as error:
            use = None
            warnings.append(f"the size of {sweep.name} is not known: {error}")
        rows.append(sweep_json(sweep, use))
    print_rows(sweep_rows(rows) if format == "table" else rows, format)
    print_warnings(warnings)
    print_remark(f"{counted(len(rows), 'sweep')}, {size(sum(row['bytes'] or 0 for row in rows))}")
