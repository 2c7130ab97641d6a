"""Sweeps and trainings from Python: start one, go on with one.

Sweeps lie in the folder `root`, one folder each.  Progress and notes go to stderr, as with the commands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gensweep.api.running import run_sweep
from gensweep.build.longer_training import are_scored_alike, longer_trial
from gensweep.build.training_length import TrainingLengths
from gensweep.config import SweepConfig, TrialConfig, is_sweep, load_base, load_sweep, load_trial, parse_overrides
from gensweep.config.loading import Overrides, Source
from gensweep.config.search_checks import extension_problem
from gensweep.config.shipped import space_file
from gensweep.config.sweep_config import Repeats, name_like
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError
from gensweep.finetuning.inherited_settings import with_base
from gensweep.results import Evaluation
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.planning import budgeted, recall_sweep, single_trial
from gensweep.sweep.retrying import Retry, with_changes
from gensweep.sweep.start import Start
from gensweep.sweep.storage import adopt
from gensweep.sweep.sweep_plan import SweepResult
from gensweep.tracking.artifacts import evaluations_until, trial_config
from gensweep.tracking.logged_models import MODEL_URI
from gensweep.tracking.provenance import install_kept_plugins
from gensweep.tracking.records import IMPORTED_FAMILIES
from gensweep.tracking.runs import checkpoint_folder, import_plugins, names_folder, trained_trial


def tune(
    space: Source | SweepConfig,
    *,
    name: str | None = None,
    trials: int | None = None,
    overrides: Overrides = (),
    scale: str | None = None,
    root: str | Path = SWEEPS,
    storage: str | None = None,
) -> SweepResult:
    """Sweep a search space, a YAML file, what it would hold, or one by its name, such as "ddpm": `gensweep tune`.

    `overrides` are values by dotted key, such as {"search.trials": 4}; `scale` is one of the file's own sets of them.
    Trials that fail do not raise: the result has them.  Raises ConfigError, with all problems, for what can be known
    before anything is trained, and GensweepError if the MLflow store, the storage or Ray does not work.
    """
    if not isinstance(space, SweepConfig):
        space = read_space(space, name=name, trials=trials, overrides=overrides, scale=scale)
    return run_sweep(space, root=Path(root), storage=storage)


def read_space(
    space: Source,
    *,
    name: str | None = None,
    trials: int | None = None,
    overrides: Overrides = (),
    scale: str | None = None,
) -> SweepConfig:
    """The sweep that `tune` would run.  Raises ConfigError with all problems."""
    named = {"name": name, "search.trials": trials}
    changes = {key: value for key, value in named.items() if value is not None}
    if isinstance(overrides, Mapping):
        overrides = {**overrides, **changes}
    else:
        overrides = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in changes.items())]
    space = space_file(space) if isinstance(space, str) else space
    return with_base(load_sweep(space, overrides=overrides, scale=scale))


def resume(
    name: str,
    *,
    more_trials: int = 0,
    repeats: Repeats | None = None,
    root: str | Path = SWEEPS,
    storage: str | None = None,
) -> SweepResult:
    """Go on with a sweep, by its name or the URL where it is stored: `gensweep tune --resume`, `--extend`, `--repeat`.

    `repeats` has the best trials trained again with other seeds.  Raises ConfigError if there is no such sweep, or if
    it takes no more trials.
    """
    if more_trials < 0:
        raise ConfigError(f"more_trials must be 0 or more, but got {more_trials}")
    folder, storage = _folder_of(name, Path(root), storage)
    going_on: dict[str, Any] = {"resume": not more_trials, "extend": more_trials, "repeats": repeats}
    sweep = recall_sweep(folder)
    if more_trials and (problem := extension_problem(sweep, sweep.nodes(), folder.state().wanted + more_trials)):
        raise ConfigError(f"{sweep.name}: {problem}")
    return run_sweep(sweep, root=Path(root), storage=storage, **going_on)


def retry(
    name: str,
    trials: str | Sequence[str] = (),
    *,
    overrides: Overrides = (),
    root: str | Path = SWEEPS,
    storage: str | None = None,
) -> SweepResult:
    """Run failed trials of a sweep again, one or those that are named, or all: `gensweep tune --retry`.

    Raises ConfigError for trials that did not fail, and for overrides that would change what trials are compared by.
    """
    folder, storage = _folder_of(name, Path(root), storage)
    sweep, changes = with_changes(recall_sweep(folder), parse_overrides(overrides))
    again = Retry((trials,) if isinstance(trials, str) else tuple(trials), changes)
    if folder.state().created is not None:  # else the log is still in the storage
        again.check(folder)
    return run_sweep(sweep, root=Path(root), storage=storage, retry=again)


def train(
    config: Source | None = None,
    *,
    from_run: str | None = None,
    continue_from: str | Path | None = None,
    name: str | None = None,
    workers: int = 1,
    cpus_per_worker: float = 1,
    gpus_per_worker: float | None = None,
    overrides: Overrides = (),
    scale: str | None = None,
    root: str | Path = SWEEPS,
    storage: str | None = None,
) -> SweepResult:
    """Train one configuration, a YAML file or what it would hold, or that of a run: `gensweep train`.

    A sweep of one trial, called `name`.  Of a search space its base is trained.  `continue_from` is a run, or a
    checkpoint's folder, that goes on until the override of "training.images", as if it had been as long from the start.
    A worker has a GPU by default if there is one.  Raises as `tune` does.
    """
    if sum(given is not None for given in (config, from_run, continue_from)) != 1:
        raise ConfigError(
            'give either a configuration, from_run or continue_from; for example: train(from_run="quickstart")'
        )
    start = None
    if continue_from is not None:
        trial, start = _longer(continue_from, overrides, scale)
        default_name = name_like(start.run, "-longer")
    elif from_run is not None:
        trial, default_name = _trial_of(from_run, overrides, scale), name_like(from_run, "-again")
    else:
        assert config is not None
        config = space_file(config) if isinstance(config, str) else config
        stem = config.stem if isinstance(config, Path) else str(config.get("name", "mapping"))
        trial, default_name = _trial_in(config, overrides, scale), name_like(stem, "-train")
    sweep = single_trial(name or default_name, trial, workers, cpus_per_worker, gpus_per_worker)
    return run_sweep(with_base(sweep), root=Path(root), storage=storage, start=start)


def _trial_in(config: Source, overrides: Overrides, scale: str | None) -> TrialConfig:
    if is_sweep(config):
        return budgeted(load_base(config, overrides=overrides, scale=scale), {}, TrainingLengths())
    return load_trial(config, overrides=overrides, scale=scale)


def _longer(run: str | Path, overrides: Overrides, scale: str | None) -> tuple[TrialConfig, Start]:
    """The trial that a run becomes which goes on, and where it begins."""
    _refuse_scale(scale)
    named = isinstance(run, str) and not run.startswith(MODEL_URI) and not names_folder(run)
    source = trained_trial(str(run)) if named else None
    folder = checkpoint_folder(source or run)
    trial, checkpoint = longer_trial(folder, parse_overrides(overrides))
    known: list[Evaluation] = []
    if source is not None and are_scored_alike(TrialConfig.from_dict(checkpoint.metadata), trial):
        known = evaluations_until(source, checkpoint.images, trial.flat()["evaluation.metrics"][0])
    return trial, Start(str(run), checkpoint.images, str(folder.resolve()), [each.as_dict() for each in known])


def _refuse_scale(scale: str | None) -> None:
    if scale is not None:
        raise ConfigError("a scale belongs to a file, not to a run; change single values of that")


def _trial_of(run: str, overrides: Overrides, scale: str | None) -> TrialConfig:
    _refuse_scale(scale)
    trial = trained_trial(run)
    import_plugins(trial)
    return TrialConfig.from_dict(trial_config(trial)).with_overrides(parse_overrides(overrides))


def _folder_of(name: str, root: Path, storage: str | None) -> tuple[SweepFolder, str | None]:
    """The folder of a sweep by its name, or begun anew from where it is stored; and its storage, if that is given."""
    if "/" in name:
        if storage is not None:
            raise ConfigError(f"{name} says where the sweep lies; leave the storage out")
        name, storage = adopt(root, name)
    folder = SweepFolder(root, name)
    folder.check_name(resume=True)
    _check_trained(folder)
    for module in install_kept_plugins(folder):
        click.echo(f"Note: the code of the plug-in {module} is the copy that lies with the sweep", err=True)
    return folder, storage


def _check_trained(folder: SweepFolder) -> None:
    """Raises ConfigError for an entry that `gensweep evaluate --name` has filed."""
    settings = dict(flatten(folder.settings["sweep"]))
    if settings.get("base.family.kind") in IMPORTED_FAMILIES:
        raise ConfigError(
            f"{folder.name} was only scored here ({settings.get('base.family.path', 'path unknown')}): there is no "
            "training to go on with; name a sweep of tune or train"
        )
