"""`gensweep tune`: sweep a search space, resume or extend a sweep, or look before it runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gensweep.cli.sweep_options import override_options, root_option, storage_option
from gensweep.report.output import format_option

if TYPE_CHECKING:
    from gensweep.config import SweepConfig

SMOKE = (
    "search.trials=1",
    "search.sampler.kind=random",
    "search.scheduler.kind=fifo",
    "resources.concurrent=1",
    "keep_best=1",
    "training.batch_size=16",
    "budget=null",
    "search.budget=null",
    "search.repeats=null",
    "training.images=64",
    "evaluation.every=32",
    "evaluation.at=null",
    "evaluation.samples=16",
    "evaluation.batch_size=16",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--name", help="Name of the sweep, instead of the file's.")
@click.option("--resume", metavar="NAME", help="Go on with an interrupted sweep.")
@click.option("--extend", metavar="NAME", help="Add trials to a sweep; see --trials.")
@click.option("--repeat", metavar="NAME", help="Train the best of a sweep again with other seeds.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="With --repeat: how many of the best.  [default: 2]")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="With --repeat: how many other seeds.  [default: 2]")
@click.option("--trials", type=click.IntRange(1), metavar="N", help="How many trials (with --extend: how many more).")
@click.option("--dry-run", is_flag=True, help="Show the space, sample trials, sizes, cost and places; train nothing.")
@click.option("--smoke", is_flag=True, help="Run one tiny trial along the whole path, under the name NAME-smoke.")
@override_options
@root_option
@storage_option
@format_option
def tune(
    file: Path | None,
    name: str | None,
    resume: str | None,
    extend: str | None,
    repeat: str | None,
    top: int | None,
    seeds: int | None,
    trials: int | None,
    dry_run: bool,
    smoke: bool,
    overrides: tuple[str, ...],
    scale: str | None,
    root: Path,
    storage: str | None,
    format: str,
) -> int:
    """Sweep a search space, or resume, extend or repeat a sweep.

    \b
    Examples:
      gensweep tune search_spaces/quickstart.yaml
      gensweep tune search_spaces/ddpm.yaml --dry-run
      gensweep tune search_spaces/ddpm.yaml --scale cpu --set search.trials=4
      gensweep tune --resume ddpm-cifar10
      gensweep tune --extend ddpm-cifar10 --trials 20
      gensweep tune --repeat ddpm-cifar10 --top 3 --seeds 3

    Ctrl-C stops cleanly and prints the command that goes on. --format is for --dry-run.
    """
    if going_on := resume or extend or repeat:
        _check_usage(
            resume, extend, repeat, trials, changed=bool(file or name or overrides or scale or dry_run or smoke)
        )
    if (top or seeds) and not repeat:
        raise click.UsageError("--top and --seeds are for --repeat, such as: gensweep tune --repeat NAME --top 3")
    if going_on:
        return _go_on(going_on, root, extend=trials or 0, repeats=(top, seeds) if repeat else None)
    if file is None:
        raise click.UsageError("Missing argument FILE; for example: gensweep tune search_spaces/quickstart.yaml")
    from gensweep.cli.dry_run import show_preview
    from gensweep.cli.running import run_sweep
    from gensweep.config import load_sweep
    from gensweep.finetuning.inherited_settings import with_base

    changes = list(overrides)
    if name:
        changes.append(f"name={json.dumps(name)}")
    if trials:
        changes.append(f"search.trials={trials}")
    sweep = load_sweep(file, overrides=changes, scale=scale)
    if smoke:
        sweep = load_sweep(file, overrides=[*changes, *SMOKE, f"name={sweep.name}-smoke"], scale=scale)
    sweep = with_base(sweep)
    if dry_run:
        return show_preview(sweep, root, storage, format)
    return _smoke(sweep, root) if smoke else run_sweep(sweep, root=root, storage=storage)


def _check_usage(
    resume: str | None, extend: str | None, repeat: str | None, trials: int | None, *, changed: bool
) -> None:
    if sum(map(bool, (resume, extend, repeat))) > 1:
        raise click.UsageError(
            "--resume, --extend and --repeat exclude each other; the latter two also finish interrupted trials."
        )
    if changed:
        raise click.UsageError(
            "A sweep goes on with the settings it was started with: give neither FILE nor --name, --set, --scale, "
            "--dry-run or --smoke together with --resume, --extend or --repeat."
        )
    if extend and not trials:
        raise click.UsageError(f"How many more? For example: gensweep tune --extend {extend} --trials 10")
    if (going_on := resume or repeat) and trials:
        raise click.UsageError(f"--trials is for new trials, such as: gensweep tune --extend {going_on} --trials N")


def _go_on(name: str, root: Path, *, extend: int, repeats: tuple[int | None, int | None] | None) -> int:
    from gensweep.cli.running import run_sweep
    from gensweep.config.sweep_config import Repeats
    from gensweep.sweep.folder import SweepFolder
    from gensweep.sweep.planning import recall_sweep

    sweep = recall_sweep(SweepFolder(root, name))
    asked = None if repeats is None else dict(zip(("top", "seeds"), repeats, strict=True))
    again = None if asked is None else Repeats(**{name: value for name, value in asked.items() if value is not None})
    return run_sweep(sweep, root=root, resume=not extend, extend=extend, repeats=again)


def _smoke(sweep: SweepConfig, root: Path) -> int:
    """One tiny trial, in an experiment and a folder of its own that never enter a comparison."""
    from gensweep.cli.running import run_sweep

    os.environ["MLFLOW_EXPERIMENT_NAME"] = "gensweep-smoke"
    shutil.rmtree(root / sweep.name, ignore_errors=True)
    code = run_sweep(sweep, root=root)
    click.echo("The smoke test " + ("passed." if code == 0 else "failed."), err=True)
    return code
