"""The output of `gensweep tune --dry-run`: tables, JSON or CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gensweep.report.output import print_json, print_rows

if TYPE_CHECKING:
    from gensweep.sweep.planning import Preview

__all__ = ["preview_json", "show_preview"]


def show_preview(preview: Preview, format: str) -> None:
    """Print a preview to stdout; csv is the table of corners."""
    if format == "json":
        print_json(preview_json(preview))
    elif format == "csv":
        print_rows(_corner_rows(preview), "csv")
    else:
        _show_tables(preview)


def preview_json(preview: Preview) -> dict[str, Any]:
    """The preview as plain values."""
    allotment = preview.allotment
    low, high = preview.hours
    return {
        "sweep": preview.sweep.complete(),
        "parameters": [{"name": p.name, "range": p.range, "where": p.where} for p in preview.parameters],
        "samples": preview.samples,
        "corners": _corner_rows(preview),
        "resources": {
            "workers": allotment.resources.workers,
            "cpus_per_worker": allotment.resources.cpus_per_worker,
            "gpus_per_worker": allotment.resources.gpus_per_worker,
            "cpus": allotment.cpus,
            "gpus": allotment.gpus,
            "concurrent_trials": allotment.concurrent,
        },
        "trials": preview.sweep.search.trials,
        "hours": {"low": low, "high": high},
        "places": preview.places,
    }


def _corner_rows(preview: Preview) -> list[dict[str, Any]]:
    rows = []
    for corner in preview.corners:
        cost = corner.cost
        rows.append(
            {
                "parameters": corner.parameters,
                "train_seconds": cost and round(cost.train_seconds, 1),
                "sample_seconds": cost and round(cost.sample_seconds, 1),
                "evaluate_seconds": cost and round(cost.evaluate_seconds, 1),
                "activation_bytes": cost and cost.activation_bytes,
                "memory_bytes": cost and cost.memory_bytes(corner.share),
                "params": _words(corner.params),
            }
        )
    return rows


def _show_tables(preview: Preview) -> None:
    from gensweep.report.wording import count, duration, size

    sweep = preview.sweep
    _title(f"Space of {sweep.name}")
    print_rows(
        [{"parameter": p.name, "range": p.range, "where": p.where or "always"} for p in preview.parameters], "table"
    )
    _title("Trials drawn at random")
    print_rows([{"#": index, "settings": _words(params)} for index, params in enumerate(preview.samples)], "table")
    _title("Extreme trials: size, time of a full run on this machine, memory of a worker's training step")
    rows = [
        {
            "parameters": count(corner.parameters),
            "train": duration(corner.cost.train_seconds) if corner.cost else "-",
            "sample": duration(corner.cost.sample_seconds) if corner.cost else "-",
            "score": duration(corner.cost.evaluate_seconds) if corner.cost else "-",
            "memory": size(corner.cost.memory_bytes(corner.share)) if corner.cost else "-",
            "an image": size(corner.cost.activation_bytes) if corner.cost else "-",
            "settings": _words(corner.params),
        }
        for corner in preview.corners
    ]
    print_rows(rows, "table")
    _title("Resources and cost")
    low, high = preview.hours
    click.echo(f"{preview.allotment}")
    click.echo(
        f"{sweep.search.trials} trials on this machine: {duration(low * 3600)} if all cost what the cheapest above"
    )
    click.echo(f"costs, {duration(high * 3600)} if all cost what the dearest does; early stopping makes it less")
    _title("Places")
    for what, where in preview.places.items():
        click.echo(f"{what}: {where}")


def _title(text: str) -> None:
    click.echo(click.style(f"\n{text}", bold=True))


def _words(params: Any) -> str:
    return ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )
