"""`gensweep tune`: run a search space, resume or extend a sweep, or preview it."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.sweep_options import deadline_options, override_options, price_option, root_option, storage_option
from gensweep.report.output import format_option, print_json, print_rows, print_warnings

if TYPE_CHECKING:
    from gensweep.config import SweepConfig
    from gensweep.run.planning import Preview


def _sweep_option(name: str, help: str) -> Callable[[Any], Any]:
    """An option that names a stored sweep."""
    return click.option(name, metavar="NAME|URL", help=help)


@click.command()
@click.argument("file", required=False)
@click.argument("trial", nargs=-1)
@click.option("--name", help="Name of the sweep, instead of the file's.")
@_sweep_option("--resume", "Resume an interrupted sweep, by name, or from its storage.")
@_sweep_option("--extend", "Add trials to a sweep; see --trials.")
@_sweep_option("--repeat", "Train the best trials of a sweep again with other seeds.")
@_sweep_option("--retry", "Run failed trials of a sweep again: the trials named, or all.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="With --repeat: number of trials.  [default: 2]")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="With --repeat: number of seeds.  [default: 2]")
@click.option("--trials", type=click.IntRange(1), metavar="N", help="Number of trials (with --extend: to add).")
@click.option("--dry-run", is_flag=True, help="Show the space, sample trials, sizes, costs and folders; train nothing.")
@click.option("--report", type=click.Path(dir_okay=False), help="HTML file with the results so far; it reloads itself.")
@deadline_options
@price_option
@override_options
@root_option
@storage_option
@format_option
def tune(
    file: str | None,
    trial: tuple[str, ...],
    name: str | None,
    resume: str | None,
    extend: str | None,
    repeat: str | None,
    retry: str | None,
    top: int | None,
    seeds: int | None,
    trials: int | None,
    dry_run: bool,
    report: str | None,
    deadline: float | None,
    price: str | None,
    overrides: tuple[str, ...],
    scale: str | None,
    root: Path,
    storage: str | None,
    format: str,
) -> int:
    """Sweep a search space, or resume, extend, repeat or retry a sweep.

    \b
    Examples:
      gensweep tune quickstart
      gensweep tune search_spaces/ddpm.yaml --dry-run
      gensweep tune search_spaces/ddpm.yaml --dry-run --price 2.50EUR/h
      gensweep tune search_spaces/ddpm.yaml --scale cpu --set search.trials=4
      gensweep tune quickstart --report live.html                  open it in a browser
      gensweep tune search_spaces/ddpm.yaml --for 8h               or --until 07:00
      gensweep tune search_spaces/ddpm.yaml --set 'space.training.batch_size={choice: [64, 128]}'
      gensweep tune search_spaces/ddpm.yaml --set resources.workers=4          four GPUs per trial
      RAY_ADDRESS=auto gensweep tune search_spaces/ddpm.yaml                   on a running Ray cluster
      gensweep tune --resume ddpm-cifar10
      gensweep tune --resume s3://bucket/sweeps/ddpm-cifar10       on another machine
      gensweep tune --extend ddpm-cifar10 --trials 20
      gensweep tune --repeat ddpm-cifar10 --top 3 --seeds 3
      gensweep tune --retry ddpm-cifar10
      gensweep tune --retry ddpm-cifar10 t0003 t0007 --set evaluation.batch_size=64
      gensweep tune search_spaces/ddpm.yaml --storage s3://bucket/sweeps

    Ctrl-C stops cleanly and prints the command to resume. --format is for --dry-run.
    """
    named = (file, *trial) if file else ()
    stored = [each for each in (resume, extend, repeat, retry) if each]
    if len(stored) > 1:
        raise click.UsageError(
            "--resume, --extend, --repeat and --retry exclude each other; the latter three also finish interrupted "
            "trials."
        )
    if stored and (name or scale or dry_run or price or (not retry and (named or overrides))):
        raise click.UsageError(
            "A sweep keeps the settings of its start: omit FILE, --name, --set, --scale, "
            "--price and --dry-run with --resume, --extend and --repeat (--retry allows --set)."
        )
    if extend and not trials:
        raise click.UsageError(f"How many more? For example: gensweep tune --extend {extend} --trials 10")
    if stored and not extend and trials:
        raise click.UsageError(f"--trials is for new trials, such as: gensweep tune --extend {stored[0]} --trials N")
    if (top or seeds) and not repeat:
        raise click.UsageError("--top and --seeds are for --repeat, such as: gensweep tune --repeat NAME --top 3")
    from gensweep.api import sweeps
    from gensweep.run.deadline import fit_sweep

    place: dict[str, Any] = {"root": root, "storage": storage, "report": report, "deadline": deadline}
    if retry:
        return sweeps.retry(retry, named, overrides=overrides, **place).exit_code
    if stored:
        from gensweep.config.sweep_config import Repeats

        asked = {key: value for key, value in (("top", top), ("seeds", seeds)) if value is not None}
        repeats = Repeats(**asked) if repeat else None
        return sweeps.resume(stored[0], more_trials=trials or 0, repeats=repeats, **place).exit_code
    if file is None:
        raise click.UsageError("Missing argument FILE; for example: gensweep tune quickstart")
    if trial:
        raise click.UsageError(
            f"Only one FILE is allowed, but got also {trial[0]}; to name trials: --retry NAME TRIAL..."
        )
    if price is not None:
        overrides = (*overrides, f"resources.price={json.dumps(price)}")
    sweep = sweeps.read_space(file, name=name, trials=trials, overrides=overrides, scale=scale, root=root)
    _check_gpus(sweep, file, overrides)
    if dry_run:
        if deadline is not None:
            sweep = fit_sweep(sweep, deadline - time.time(), trials=trials)
        return show_preview(sweep, root, storage, format)
    return sweeps.tune(sweep, trials=trials, **place).exit_code


def _check_gpus(sweep: SweepConfig, cli_name: str, overrides: Sequence[str]) -> None:
    """Raises ConfigError, with the command to train on the CPU, if workers need a GPU and this machine has none."""
    from gensweep.config import load_sweep, scale_names
    from gensweep.errors import ConfigError
    from gensweep.run.allotment import visible_gpus
    from gensweep.shipped import space_file

    asked = sweep.resources.gpus_per_worker
    if not asked or os.environ.get("RAY_ADDRESS") or visible_gpus():
        return
    file, for_processors = space_file(cli_name), list[str | None]()
    for scale in (None, *scale_names(file)):
        with suppress(ConfigError):  # a scale that conflicts with the overrides
            if not load_sweep(file, scale=scale, overrides=overrides).resources.gpus_per_worker:
                for_processors.append(scale)
    if for_processors:  # the last one: scales are sorted by size
        words = ["gensweep", "tune", cli_name, *(part for each in overrides for part in ("--set", each))]
        words += [] if for_processors[-1] is None else ["--scale", for_processors[-1]]
        raise ConfigError(
            f"{sweep.name} needs {asked:g} GPU per worker, but this machine has none; to train on its CPU: "
            f"{shlex.join(words)}"
        )


def show_preview(sweep: SweepConfig, root: Path, storage: str | None, format: str) -> int:
    """Preview a sweep on stdout without training; csv is the table of extreme trials."""
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.run.planning import preview
    from gensweep.tracking.store import experiment_name, tracking_uri

    click.echo("Building and timing the extreme trials ...", err=True)
    found = preview(sweep, root=root, storage=storage)
    print_warnings(sampler_warnings(sweep.corners))
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
    hours, money, price = preview.hours, preview.money, preview.sweep.resources.known_price
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
        },
        "trials": preview.sweep.search.trials,
        "repeats": preview.sweep.search.most_repeats,
        "hours": hours and dict(zip(("low", "high"), hours, strict=True)),
        "price": money and price and {"low": money[0], "high": money[1], "currency": price.currency},
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
            "params": _format_params(corner.params),
        }
        for corner in preview.corners
    ]


def _print_tables(preview: Preview, places: Mapping[str, str]) -> None:
    from gensweep.config.objectives import SECONDS_PER_HOUR
    from gensweep.report.wording import count, duration
    from gensweep.verdict.amounts import Amount

    sweep, price = preview.sweep, preview.sweep.resources.known_price
    rows: list[dict[str, Any]] = [
        {"parameter": p.name, "range": p.range, "where": p.where or "always"} for p in preview.parameters
    ]
    _print_title(f"Space of {sweep.name}")
    print_rows(rows, "table")
    rows = [{"#": index, "settings": _format_params(params)} for index, params in enumerate(preview.samples)]
    _print_title("Random trials")
    print_rows(rows, "table")
    rows = [
        {
            "parameters": count(row["parameters"]),
            "images": count(row["images"]),
            "FLOPs": count(row["flops"]),
            "time": duration(row["seconds"]),
            "settings": row["params"],
        }
        for row in _corner_rows(preview)
    ]
    _print_title("Extreme trials: size, and time for training and sampling on this machine")
    print_rows(rows, "table")
    _print_title("Resources and cost")
    click.echo(f"{preview.allotment}")
    if sweep.search.budget is not None:
        amount = Amount(sweep.search.budget.unit, sweep.search.budget.amount)
        paid = None if price is None or amount.unit != "device_seconds" else price.of(amount.value)
        words = "" if price is None or paid is None else f" ({price.format_money(paid)})"
        click.echo(f"The search spends at most {amount}{words} for training and scoring")
    if preview.hours is not None:
        low, high = (duration(hours * SECONDS_PER_HOUR) for hours in preview.hours)
        more = sweep.search.most_repeats
        repeats = f" and {more} trainings with other seeds" if more else ""
        click.echo(
            f"{sweep.search.most_trials} trials{repeats} on this machine: {low} with the costs of the\n"
            f"cheapest above, {high} with the costs of the most expensive; less with early stopping"
        )
    if price is not None and preview.money is not None:
        low, high = map(price.format_money, preview.money)
        click.echo(f"At {price} for each device: {low} to {high}")
    _print_title("Places")
    for what, where in places.items():
        click.echo(f"{what}: {where}")
    _print_title("Checks before training")
    for finding in preview.findings:
        click.echo(f"Error: {finding.problem}" if finding.problem else f"{finding.name}: {finding.detail}")


def _print_title(text: str) -> None:
    click.echo(click.style(f"\n{text}", bold=True))


def _format_params(params: Any) -> str:
    return ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )
