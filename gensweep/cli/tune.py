"""`gensweep tune`: sweep a search space, resume or extend a sweep, or look before it runs."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.on_cluster import start_on_cluster
from gensweep.cli.sweep_options import override_options, root_option, storage_option, without_secret
from gensweep.remote_folder import split_place
from gensweep.report.completion import space_names, sweep_names
from gensweep.report.output import format_option

if TYPE_CHECKING:
    from gensweep.config import SweepConfig

#: What a smoke test changes, whatever the file and --set say; its batch goes evenly to all workers.
SMOKE = {
    "search": {"trials": 1, "sampler": {"kind": "random"}, "scheduler": {"kind": "fifo"}},
    "resources.concurrent": 1,
    "keep_best": 1,
    "final": None,
    "budget": None,
    "training.images": 64,
    "training.accumulation": 1,
    "evaluation.every": 32,
    "evaluation.at": None,
    "evaluation.samples": 16,
    "evaluation.rung_samples": None,
    "evaluation.batch_size": 16,
}
SMOKE_BATCH = 16


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False, shell_complete=space_names)
@click.argument("trial", nargs=-1)
@click.option("--name", help="Name of the sweep, instead of the file's.")
@click.option(
    "--resume",
    metavar="NAME|URL",
    callback=without_secret,
    shell_complete=sweep_names,
    help="Go on with an interrupted sweep, also from its storage.",
)
@click.option(
    "--extend",
    metavar="NAME|URL",
    callback=without_secret,
    shell_complete=sweep_names,
    help="Add trials to a sweep; see --trials.",
)
@click.option(
    "--repeat",
    metavar="NAME|URL",
    callback=without_secret,
    shell_complete=sweep_names,
    help="Train the best of a sweep again with other seeds.",
)
@click.option(
    "--retry",
    metavar="NAME|URL",
    callback=without_secret,
    shell_complete=sweep_names,
    help="Run failed trials of a sweep again: those that are named, or all.",
)
@click.option("--top", type=click.IntRange(1), metavar="N", help="With --repeat: how many of the best.  [default: 2]")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="With --repeat: how many other seeds.  [default: 2]")
@click.option("--trials", type=click.IntRange(1), metavar="N", help="How many trials (with --extend: how many more).")
@click.option("--dry-run", is_flag=True, help="Show the space, sample trials, sizes, cost and places; train nothing.")
@click.option("--detach", is_flag=True, help="Run it on the head of the cluster at RAY_API_SERVER_ADDRESS, and return.")
@click.option("--smoke", is_flag=True, help="Run one tiny trial along the whole path, under the name NAME-smoke.")
@override_options
@root_option
@storage_option
@format_option
def tune(
    file: Path | None,
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
    detach: bool,
    smoke: bool,
    overrides: tuple[str, ...],
    scale: str | None,
    root: Path,
    storage: str | None,
    format: str,
) -> int:
    """Sweep a search space, or resume, extend, repeat or retry a sweep.

    \b
    Examples:
      gensweep tune search_spaces/quickstart.yaml
      gensweep tune search_spaces/ddpm.yaml --dry-run
      gensweep tune search_spaces/ddpm.yaml --scale cpu --set search.trials=4
      gensweep tune --resume ddpm-cifar10
      gensweep tune --resume s3://bucket/sweeps/ddpm-cifar10       on another machine
      gensweep tune --extend ddpm-cifar10 --trials 20
      gensweep tune --repeat ddpm-cifar10 --top 3 --seeds 3
      gensweep tune --retry ddpm-cifar10
      gensweep tune --retry ddpm-cifar10 t0003 t0007 --set evaluation.batch_size=64
      gensweep tune search_spaces/ddpm.yaml --storage s3://bucket/sweeps --detach

    Ctrl-C stops cleanly and prints the command that goes on. --format is for --dry-run.
    """
    named = (*((str(file),) if file else ()), *trial)
    if going_on := resume or extend or repeat or retry:
        changed = bool(name or scale or dry_run or smoke or (not retry and (named or overrides)))
        _check_usage(resume, extend, repeat, retry, trials, changed=changed)
    elif trial:
        raise click.UsageError(
            f"One FILE is enough, but there is also {trial[0]}; trials are for: --retry NAME TRIAL..."
        )
    if (top or seeds) and not repeat:
        raise click.UsageError("--top and --seeds are for --repeat, such as: gensweep tune --repeat NAME --top 3")
    if dry_run and detach:
        raise click.UsageError("--dry-run prints here what a sweep would do: leave --detach out.")
    if going_on and detach:
        return start_on_cluster(None, split_place(going_on)[1])
    if retry:
        from gensweep.api import sweeps

        return sweeps.retry(retry, named, overrides=overrides, root=root, storage=storage).exit_code
    if going_on:
        from gensweep.api import sweeps
        from gensweep.config.sweep_config import Repeats

        asked = {key: value for key, value in (("top", top), ("seeds", seeds)) if value is not None}
        repeats = Repeats(**asked) if repeat else None
        result = sweeps.resume(going_on, more_trials=trials or 0, repeats=repeats, root=root, storage=storage)
        return result.exit_code
    if file is None:
        raise click.UsageError("Missing argument FILE; for example: gensweep tune search_spaces/quickstart.yaml")
    from gensweep.api.sweeps import read_space
    from gensweep.cli.dry_run import show_preview
    from gensweep.config.shipped import space_file

    typed, file = file, space_file(str(file))
    sweep = read_space(file, name=name, trials=trials, overrides=overrides, scale=scale)
    if smoke:
        sweep = smoke_test(sweep)
    if detach:
        return start_on_cluster(file, sweep.name)
    _check_gpus(sweep, typed, file, overrides)
    if dry_run:
        return show_preview(sweep, root, storage, format)
    return _smoke(sweep, root, storage) if smoke else _run(sweep, root, storage)


def smoke_test(sweep: SweepConfig) -> SweepConfig:
    """One tiny trial of a sweep, along the whole path, under the name NAME-smoke."""
    from gensweep.config import load_sweep
    from gensweep.config.objective_checks import named_metrics
    from gensweep.config.sweep_config import name_like
    from gensweep.config.tree import flatten

    workers = sweep.resources.worker_counts[0]
    batch = math.ceil(SMOKE_BATCH / workers) * workers
    changes = {**SMOKE, "name": name_like(sweep.name, "-smoke"), "training.batch_size": batch}
    metrics = dict(flatten(sweep.base)).get("evaluation.metrics", ())
    metrics, needed = [metrics] if isinstance(metrics, str) else metrics, dict(named_metrics(sweep)).values()
    if rest := [name for name in metrics if name != "fd_by_class" or name in needed]:
        changes["evaluation.metrics"] = rest  # so few images hold too few of each class
    return load_sweep(sweep.as_dict(), overrides=changes)


def _is_smoke_test(settings: Mapping[str, Any]) -> bool:
    """Whether a sweep.json is that of a smoke test: nothing else trains so little."""
    from gensweep.config.tree import flatten

    return dict(flatten(settings)).get("sweep.base.training.images") == SMOKE["training.images"]


def _check_usage(
    resume: str | None,
    extend: str | None,
    repeat: str | None,
    retry: str | None,
    trials: int | None,
    *,
    changed: bool,
) -> None:
    if sum(map(bool, (resume, extend, repeat, retry))) > 1:
        raise click.UsageError(
            "--resume, --extend, --repeat and --retry exclude each other; the latter three also finish interrupted "
            "trials."
        )
    if changed:
        raise click.UsageError(
            "A sweep goes on with the settings it was started with: give neither FILE nor --name, --set, --scale, "
            "--dry-run or --smoke together with --resume, --extend or --repeat (--retry takes --set)."
        )
    if extend and not trials:
        raise click.UsageError(f"How many more? For example: gensweep tune --extend {extend} --trials 10")
    if (going_on := resume or repeat or retry) and trials:
        raise click.UsageError(f"--trials is for new trials, such as: gensweep tune --extend {going_on} --trials N")


def _check_gpus(sweep: SweepConfig, typed: Path, file: Path, overrides: Sequence[str]) -> None:
    """Raises ConfigError, with the command for a machine without GPUs, if workers are to have one and this has none."""
    from gensweep.config import load_sweep, scale_names
    from gensweep.errors import ConfigError
    from gensweep.sweep.allotment import visible_gpus

    asked = sweep.resources.gpus_per_worker
    if not asked or os.environ.get("RAY_ADDRESS") or visible_gpus():
        return
    for_processors = list[str | None]()
    for scale in (None, *scale_names(file)):
        with suppress(ConfigError):  # one that does not go with what is overridden
            if not load_sweep(file, scale=scale, overrides=overrides).resources.gpus_per_worker:
                for_processors.append(scale)
    if for_processors:  # the last one, as scales grow
        words = ["gensweep", "tune", str(typed), *(part for each in overrides for part in ("--set", each))]
        words += [] if for_processors[-1] is None else ["--scale", for_processors[-1]]
        raise ConfigError(
            f"{sweep.name} asks for {asked:g} GPU a worker, but this machine has none; to train on its processor: "
            f"{shlex.join(words)}"
        )


def _run(sweep: SweepConfig, root: Path, storage: str | None) -> int:
    from gensweep.api import sweeps

    return sweeps.tune(sweep, root=root, storage=storage).exit_code


def _smoke(sweep: SweepConfig, root: Path, storage: str | None) -> int:
    """One tiny trial, in an experiment and a folder of its own that never enter a comparison."""
    from gensweep.sweep.storage import clear

    os.environ["MLFLOW_EXPERIMENT_NAME"] = "gensweep-smoke"
    clear(root, sweep.name, storage, _is_smoke_test)
    code = _run(sweep, root, storage)
    click.echo("The smoke test " + ("passed." if code == 0 else "failed."), err=True)
    return code
