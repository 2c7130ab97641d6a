"""`gensweep tune --dry-run`: what a sweep would do, as tables, JSON or CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.report.output import print_json, print_rows, print_warnings

if TYPE_CHECKING:
    from gensweep.config import SweepConfig
    from gensweep.run.planning import Preview


def show_preview(sweep: SweepConfig, root: Path, storage: str | None, format: str) -> int:
    """Look at a sweep, print what is found to stdout, and train nothing; csv is the table of extreme trials."""
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.run.planning import preview
    from gensweep.tracking.store import store_places

    click.echo("Building and timing the extreme trials ...", err=True)
    found = preview(sweep, root=root, storage=storage)
    print_warnings(sampler_warnings(sweep.corners))
    places = found.places | store_places()
    if format == "table":
        _print_tables(found, places)
    elif format == "csv":
        print_rows(_corner_rows(found), "csv")
    else:
        print_json(_preview_json(found, places))
    return 0


def _preview_json(preview: Preview, places: Mapping[str, str]) -> dict[str, Any]:
    allotment = preview.allotment
    hours = preview.hours
    return {
        "sweep": preview.sweep.complete(),
        "parameters": [{"name": p.name, "range": p.range, "where": p.where} for p in preview.parameters],
        "samples": preview.samples,
        "corners": _corner_rows(preview),
        "resources": {
            "workers": allotment.resources.model_dump()["workers"],
            "cpus_per_worker": allotment.resources.cpus_per_worker,
            "gpus_per_worker": allotment.resources.gpus_per_worker,
            "cpus": allotment.cpus,
            "gpus": allotment.gpus,
            "concurrent_trials": allotment.concurrent,
            "concurrent_trials_now": allotment.now,
        },
        "trials": preview.sweep.search.trials,
        "repeats": preview.sweep.search.most_repeats,
        "hours": hours and dict(zip(("low", "high"), hours, strict=True)),
        "places": places,
        "checks": [finding._asdict() for finding in preview.findings],
    }


def _corner_rows(preview: Preview) -> list[dict[str, Any]]:
    return [
        {
            "parameters": corner.parameters,
            "images": corner.images,
            "flops": corner.flops,
            "seconds": corner.seconds and round(corner.seconds, 1),
            "memory_bytes": corner.memory,
            "params": _words(corner.params),
        }
        for corner in preview.corners
    ]


def _print_tables(preview: Preview, places: Mapping[str, str]) -> None:
    from gensweep.config.objectives import SECONDS_PER_HOUR
    from gensweep.report.wording import count, duration, size
    from gensweep.verdict.amounts import Amount

    sweep = preview.sweep
    rows: list[dict[str, Any]] = [
        {"parameter": p.name, "range": p.range, "where": p.where or "always"} for p in preview.parameters
    ]
    _print_title(f"Space of {sweep.name}")
    print_rows(rows, "table")
    rows = [{"#": index, "settings": _words(params)} for index, params in enumerate(preview.samples)]
    _print_title("Trials drawn at random")
    print_rows(rows, "table")
    rows = [
        {
            "parameters": count(row["parameters"]),
            "images": count(row["images"]),
            "FLOPs": count(row["flops"]),
            "time": duration(row["seconds"]),
            "memory": size(row["memory_bytes"]),
            "settings": row["params"],
        }
        for row in _corner_rows(preview)
    ]
    _print_title("Extreme trials: size, time of training and drawing on this machine, memory of a worker")
    print_rows(rows, "table")
    _print_title("Resources and cost")
    click.echo(f"{preview.allotment}")
    if sweep.search.budget is not None:
        amount = Amount(sweep.search.budget.unit, sweep.search.budget.amount)
        click.echo(f"The search spends at most {amount}, on training and scoring")
    if preview.hours is not None:
        low, high = (duration(hours * SECONDS_PER_HOUR) for hours in preview.hours)
        more = sweep.search.most_repeats
        repeats = f" and {more} trainings with other seeds" if more else ""
        click.echo(
            f"{sweep.search.most_trials} trials{repeats} at the speed of this machine: {low} if all cost what the\n"
            f"cheapest above costs, {high} if all cost what the dearest does; early stopping makes it less"
        )
    _print_title("Places")
    for what, where in places.items():
        click.echo(f"{what}: {where}")
    _print_title("What is tried before it trains")
    for finding in preview.findings:
        click.echo(f"Error: {finding.problem}" if finding.problem else f"{finding.name}: {finding.detail}")


def _print_title(text: str) -> None:
    click.echo(click.style(f"\n{text}", bold=True))


def _words(params: Any) -> str:
    return ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )
