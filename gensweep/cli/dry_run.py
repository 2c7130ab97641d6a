"""`gensweep tune --dry-run`: what a sweep would do, as tables, JSON or CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.report.output import print_json, print_rows, print_warnings

if TYPE_CHECKING:
    from gensweep.config import SweepConfig
    from gensweep.sweep.planning import Preview


def show_preview(sweep: SweepConfig, root: Path, storage: str | None, format: str) -> int:
    """Look at a sweep, print what is found to stdout, and train nothing; csv is the table of extreme trials."""
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.sweep.planning import preview
    from gensweep.tracking.store import experiment_name, tracking_uri
    from gensweep.tracking.store_check import store_folders

    click.echo("Building and timing the extreme trials ...", err=True)
    found = preview(sweep, root=root, storage=storage, store_folders=store_folders())
    print_warnings(sampler_warnings(sweep.trial(corner.params) for corner in found.corners))
    places = found.places | {"mlflow store": tracking_uri(), "mlflow experiment": experiment_name()}
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
            "train_seconds": cost and round(cost.train_seconds, 1),
            "sample_seconds": cost and round(cost.sample_seconds, 1),
            "evaluate_seconds": cost and round(cost.evaluate_seconds, 1),
            "activation_bytes": cost and cost.timing.activation_bytes,
            "memory_bytes": cost and cost.memory_bytes(corner.share),
            "params": _words(corner.params),
        }
        for corner in preview.corners
        for cost in [corner.cost]
    ]


def _print_tables(preview: Preview, places: Mapping[str, str]) -> None:
    from gensweep.compute.amounts import Amount
    from gensweep.config.sweep_config import SECONDS_PER_HOUR
    from gensweep.report.wording import count, duration, size

    sweep = preview.sweep
    rows: list[dict[str, Any]]
    rows = [{"parameter": p.name, "range": p.range, "where": p.where or "always"} for p in preview.parameters]
    _print_table(f"Space of {sweep.name}", rows)
    rows = [{"#": index, "settings": _words(params)} for index, params in enumerate(preview.samples)]
    _print_table("Trials drawn at random", rows)
    rows = [
        {
            "parameters": count(corner.parameters),
            "images": count(corner.images),
            "FLOPs": count(corner.flops),
            "train": duration(cost and cost.train_seconds),
            "sample": duration(cost and cost.sample_seconds),
            "score": duration(cost and cost.evaluate_seconds),
            "memory": size(cost and cost.memory_bytes(corner.share)),
            "an image": size(cost and cost.timing.activation_bytes),
            "settings": _words(corner.params),
        }
        for corner in preview.corners
        for cost in [corner.cost]
    ]
    _print_table("Extreme trials: size, time of a full run on this machine, memory of a worker's training step", rows)
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


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    _print_title(title)
    print_rows(rows, "table")


def _print_title(text: str) -> None:
    click.echo(click.style(f"\n{text}", bold=True))


def _words(params: Any) -> str:
    return ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )
