"""`gensweep tune`: sweep a search space, resume or extend a sweep, or look before it runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.sweep_options import override_options, root_option, storage_option, without_secret
from gensweep.report.completion import space_names, sweep_names
from gensweep.report.output import format_option

if TYPE_CHECKING:
    from gensweep.config import SweepConfig


def _sweep_option(name: str, help: str) -> Callable[[Any], Any]:
    """An option that names a stored sweep."""
    return click.option(name, metavar="NAME|URL", callback=without_secret, shell_complete=sweep_names, help=help)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False, shell_complete=space_names)
@click.argument("trial", nargs=-1)
@click.option("--name", help="Name of the sweep, instead of the file's.")
@_sweep_option("--resume", "Resume an interrupted sweep, also from its storage.")
@_sweep_option("--extend", "Add trials to a sweep; see --trials.")
@_sweep_option("--repeat", "Train the best of a sweep again with other seeds.")
@_sweep_option("--retry", "Run failed trials of a sweep again: the trials named, or all.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="With --repeat: how many of the best.  [default: 2]")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="With --repeat: how many other seeds.  [default: 2]")
@click.option("--trials", type=click.IntRange(1), metavar="N", help="How many trials (with --extend: how many more).")
@click.option("--dry-run", is_flag=True, help="Show the space, sample trials, sizes, cost and places; train nothing.")
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
      gensweep tune search_spaces/ddpm.yaml --scale cpu --set search.trials=4
      gensweep tune --resume ddpm-cifar10
      gensweep tune --resume s3://bucket/sweeps/ddpm-cifar10       on another machine
      gensweep tune --extend ddpm-cifar10 --trials 20
      gensweep tune --repeat ddpm-cifar10 --top 3 --seeds 3
      gensweep tune --retry ddpm-cifar10
      gensweep tune --retry ddpm-cifar10 t0003 t0007 --set evaluation.batch_size=64
      gensweep tune search_spaces/ddpm.yaml --storage s3://bucket/sweeps

    Ctrl-C stops cleanly and prints the command that goes on. --format is for --dry-run.
    """
    named = (*((str(file),) if file else ()), *trial)
    stored = [each for each in (resume, extend, repeat, retry) if each]
    if len(stored) > 1:
        raise click.UsageError(
            "--resume, --extend, --repeat and --retry exclude each other; the latter three also finish interrupted "
            "trials."
        )
    if stored and (name or scale or dry_run or (not retry and (named or overrides))):
        raise click.UsageError(
            "A sweep continues with the settings it was started with: give neither FILE nor --name, --set, --scale or "
            "--dry-run together with --resume, --extend or --repeat (--retry takes --set)."
        )
    if extend and not trials:
        raise click.UsageError(f"How many more? For example: gensweep tune --extend {extend} --trials 10")
    if stored and not extend and trials:
        raise click.UsageError(f"--trials is for new trials, such as: gensweep tune --extend {stored[0]} --trials N")
    if (top or seeds) and not repeat:
        raise click.UsageError("--top and --seeds are for --repeat, such as: gensweep tune --repeat NAME --top 3")
    from gensweep.api import sweeps

    place: dict[str, Any] = {"root": root, "storage": storage}
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
            f"One FILE is enough, but there is also {trial[0]}; trials are for: --retry NAME TRIAL..."
        )
    from gensweep.cli.dry_run import show_preview
    from gensweep.shipped import space_file

    typed, file = file, space_file(str(file))
    sweep = sweeps.read_space(file, name=name, trials=trials, overrides=overrides, scale=scale)
    _check_gpus(sweep, typed, file, overrides)
    if dry_run:
        return show_preview(sweep, root, storage, format)
    return sweeps.tune(sweep, **place).exit_code


def _check_gpus(sweep: SweepConfig, typed: Path, file: Path, overrides: Sequence[str]) -> None:
    """Raises ConfigError, with the command for a machine without GPUs, if workers are to have one and this has none."""
    from gensweep.config import load_sweep, scale_names
    from gensweep.errors import ConfigError
    from gensweep.run.allotment import visible_gpus

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
