"""`gensweep train`: one configuration, as a sweep of one trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gensweep.cli.sweep_options import SpaceFile, override_options, root_option, storage_option

if TYPE_CHECKING:
    from gensweep.config import TrialConfig


@click.command()
@click.argument("file", type=SpaceFile(), required=False)
@click.option("--from-run", metavar="RUN", help="Repeat a trial: a run id, SWEEP (its best trial) or SWEEP/TRIAL.")
@click.option("--name", help="Name of the run; by default the file's name, or that of the run with -again.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Data-parallel workers.")
@click.option(
    "--cpus-per-worker", type=click.FloatRange(0, min_open=True), default=1, show_default=True, help="CPU cores each."
)
@click.option(
    "--gpus-per-worker", type=click.FloatRange(0), metavar="N", help="By default 1 if there is a GPU, else 0."
)
@override_options
@root_option
@storage_option
def train(
    file: Path | None,
    from_run: str | None,
    name: str | None,
    workers: int,
    cpus_per_worker: float,
    gpus_per_worker: float | None,
    overrides: tuple[str, ...],
    scale: str | None,
    root: Path,
    storage: str | None,
) -> int:
    """Train one configuration (a sweep of one trial).

    FILE holds the keys that stand under `base` in a search space; of a search-space file, its base is trained, for its
    budget.

    \b
    Examples:
      gensweep train config.yaml --set training.images=200000
      gensweep train search_spaces/ddpm.yaml --scale cpu --workers 2
      gensweep train --from-run ddpm-cifar10 --name again
      gensweep tune --resume again                     go on after an interruption
    """
    if (file is None) == (from_run is None):
        raise click.UsageError("Give either FILE or --from-run RUN; for example: gensweep train --from-run quickstart")
    from gensweep.cli.running import run_sweep
    from gensweep.finetuning.inherited_settings import with_base
    from gensweep.sweep.planning import single_trial

    trial, default_name = _trial(file, from_run, overrides, scale)
    sweep = single_trial(name or default_name, trial, workers, cpus_per_worker, gpus_per_worker)
    return run_sweep(with_base(sweep), root=root, storage=storage)


def _trial(
    file: Path | None, run: str | None, overrides: tuple[str, ...], scale: str | None
) -> tuple[TrialConfig, str]:
    """The trial that a file or a run describes, and the name of its run unless the user gives one."""
    from gensweep.build.training_length import TrainingLengths
    from gensweep.config import TrialConfig, is_sweep, load_base, load_trial, parse_overrides
    from gensweep.sweep.planning import budgeted
    from gensweep.tracking.artifacts import trial_config
    from gensweep.tracking.runs import trained_trial

    if file is not None:
        if is_sweep(file):
            sweep = load_base(file, overrides=overrides, scale=scale)
            return budgeted(sweep, {}, TrainingLengths()), f"{file.stem}-train"
        return load_trial(file, overrides=overrides, scale=scale), f"{file.stem}-train"
    if scale is not None:
        raise click.UsageError("--scale belongs to a FILE; change single values with --set KEY=VALUE.")
    trial = TrialConfig.from_dict(trial_config(trained_trial(str(run))))
    return trial.with_overrides(parse_overrides(overrides)), f"{str(run).replace('/', '-')}-again"
