"""Sweeps and trials by the names that users give them: the read side, which needs nothing but the store."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gensweep import plugins
from gensweep.cache import cache_folder
from gensweep.config.trial_config import written_plugins
from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.ranking import Ranking
from gensweep.remote_folder import is_url
from gensweep.sweep.checkpoints import fetch
from gensweep.sweep.folder import SweepFolder
from gensweep.tracking.artifacts import fetch_model
from gensweep.tracking.last_answer import StoredRun
from gensweep.tracking.logged_models import MODEL_URI
from gensweep.tracking.provenance import install_kept_plugins
from gensweep.tracking.records import SweepRecord, TrialRecord, logged_sweep_id, sweep_folder
from gensweep.tracking.store import experiment_name, store_name, stored_runs
from gensweep.tracking.store_check import check_server
from gensweep.tracking.tags import sweep_record

#: Seconds for which a command tries to fetch a checkpoint.
FETCH_PATIENCE = 30.0


def load_sweeps(names: Sequence[str] = ()) -> list[SweepRecord]:
    """All sweeps of the experiment, or those that are named (by name or run id), newest first.

    Raises NothingToCompareError if there are none, ConfigError if a name is unknown.
    """
    runs = stored_runs()
    children: dict[str, list[StoredRun]] = {}
    for run in runs:
        children.setdefault(run.tags.get("mlflow.parentRunId", ""), []).append(run)
    parents = [run for run in runs if run.tags["gensweep.kind"] == "sweep"]
    sweeps = [sweep_record(run, children.get(run.run_id, [])) for run in parents]
    sweeps.sort(key=lambda sweep: sweep.started, reverse=True)
    if not sweeps:
        raise NothingToCompareError(
            f"no sweep in the MLflow experiment {experiment_name()!r}; run: gensweep tune search_spaces/quickstart.yaml"
        )
    sweeps = _marked(sweeps)
    named = {sweep.run_id: sweep for sweep in (_named(name, sweeps) for name in names)}  # by name and run id, too
    return list(named.values()) if names else sweeps


def _marked(sweeps: Sequence[SweepRecord]) -> list[SweepRecord]:
    """The same, newest first, those marked whose names mean newer ones."""
    names, marked = set[str](), list[SweepRecord]()
    for sweep in sweeps:
        if sweep.name in names:
            trials = tuple(replace(trial, shadowed=True) for trial in sweep.trials)
            sweep = replace(sweep, shadowed=True, trials=trials)
        names.add(sweep.name)
        marked.append(sweep)
    return marked


def find_sweep(name: str | None = None) -> SweepRecord:
    """The sweep with that run id, or else the newest of that name; without a name the newest of all.

    Raises ConfigError if there is none.
    """
    return load_sweeps([] if name is None else [name])[0]


def sweep_in(folder: SweepFolder) -> SweepRecord:
    """The sweep of a folder, whatever others have its name.  Raises ConfigError if the store does not have it."""
    sweep_id = logged_sweep_id(folder)
    for sweep in load_sweeps():
        if sweep.sweep_id == sweep_id:
            return sweep
    raise ConfigError(f"{store_name()} has no runs of {folder.path}")


def find_trial(run: str) -> TrialRecord:
    """The trial that a user means by a run id or a beginning of one, "sweep/trial", or "sweep" (its best trial).

    Raises ConfigError if there is none, or if a beginning fits several.
    """
    wanted = re.sub(r"^runs:/+", "", run.strip()).removesuffix("/checkpoint").strip("/")
    sweeps = load_sweeps()
    known: list[SweepRecord | TrialRecord] = [*sweeps, *(trial for sweep in sweeps for trial in sweep.trials)]
    fitting = [each for each in known if wanted in (each.name, each.run_id)][:1]
    if not fitting and re.fullmatch(r"[0-9a-f]{4,31}", wanted):
        fitting = [each for each in known if each.run_id.startswith(wanted)]
    if len(fitting) > 1:
        names = ", ".join(f"{each.run_id[:12]} ({each.name})" for each in fitting[:5])
        raise ConfigError(f"{run!r} is the beginning of several run ids: {names}; type more of it")
    if fitting:
        return best_trial(fitting[0]) if isinstance(fitting[0], SweepRecord) else fitting[0]
    sweep = _named(wanted.partition("/")[0], sweeps, run)
    trials = ", ".join(trial.trial for trial in sweep.trials[:12]) or "none yet"
    raise ConfigError(f"{run!r} is not a run: {sweep.name} has the trials {trials}; see: gensweep trials {sweep.name}")


def names_folder(text: str) -> bool:
    """Whether a user who may name a run or a folder means a folder; what is the name of both is the run's.

    A path that cannot be a run's name, such as ./NAME, is that of a folder.
    """
    if not Path(text).is_dir():
        return False
    if text.startswith((".", "/", "~")) or text.endswith("/"):
        return True
    try:
        find_trial(text)
    except GensweepError:
        return True
    return False


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint."""
    return (folder / "checkpoint.json").is_file()


def trained_trial(run: str | TrialRecord) -> TrialRecord:
    """A trial, named as in `find_trial`, that was trained here.  Raises GensweepError if it was only evaluated."""
    trial = run if isinstance(run, TrialRecord) else find_trial(run)
    if trial.imported:
        what = "a folder of images" if trial.family == "folder" else "a model of another program"
        raise GensweepError(
            f"{trial.name} is {what} that was only scored here ({trial.config.get('family.path', 'path unknown')}): "
            "there is no checkpoint and no training to go on with; name a run of tune or train"
        )
    return trial


def best_trial(sweep: SweepRecord) -> TrialRecord:
    """The trial with the best objective.  Raises NothingToCompareError if no trial has one."""
    best = next(iter(Ranking(sweep.trials)), None)
    if best is None:
        raise NothingToCompareError(
            f"no trial of {sweep.name} has a score yet ({len(sweep.trials)} trials); run: gensweep trials {sweep.name}"
        )
    return best


def checkpoint_folder(run: str | Path | TrialRecord) -> Path:
    """The local folder of a run's best checkpoint, downloaded if need be.

    `run` may also be such a folder (a Path is nothing else), or the URI of a model in MLflow.  The plug-ins of a run
    are imported.  Those of a folder or a model, which may come from anywhere, are not, as they run code.
    Raises ConfigError if there is no such run or a plug-in is missing, GensweepError if its checkpoint does not exist
    or it was not trained here.
    """
    if isinstance(run, str) and run.startswith(MODEL_URI):
        check_server()
        folder = fetch_model(run)
        _check_plugins(folder)
        return folder
    if isinstance(run, Path) or (isinstance(run, str) and names_folder(run)):
        folder = Path(run)
        if not is_checkpoint(folder):
            raise ConfigError(f"{run} is not a checkpoint: it holds no checkpoint.json")
        _check_plugins(folder)
        return folder
    trial = trained_trial(run)
    import_plugins(trial)
    if trial.checkpoint is None and trial.folder is not None and not Path(trial.folder).is_dir():
        raise GensweepError(
            f"the checkpoint of {trial.name} lies with its sweep, whose folder {trial.folder} is not on this "
            f"machine; if it was moved, name the folder above it once: gensweep trials {trial.sweep} --sweeps FOLDER"
        )
    if trial.checkpoint is None and trial.objective is None:
        raise GensweepError(
            f"{trial.name} ({trial.status}) has no score yet, and so no best checkpoint; "
            f"run: gensweep trials {trial.sweep}"
        )
    if trial.checkpoint is None:
        raise GensweepError(
            f"the checkpoint of {trial.name} was not kept (keep_best keeps those of a sweep's best trials); "
            f"use {trial.sweep} for the best one, or train again: gensweep train --from-run {trial.name}"
        )
    if is_url(trial.checkpoint):
        return _fetched(trial, trial.checkpoint)
    return fetch_model(trial.checkpoint) if trial.checkpoint.startswith(MODEL_URI) else Path(trial.checkpoint)


def import_plugins(trial: TrialRecord) -> None:
    """Import the plug-ins of a run, those that are not on this machine from the copies in the folder of its sweep.

    Raises ConfigError if one is neither here nor there.
    """
    names = json.loads(trial.config.get("plugins", "[]"))
    if not all(map(plugins.is_here, names)) and (folder := sweep_folder(trial)) is not None:
        install_kept_plugins(folder)
    for name in names:
        plugins.load(name)


def _check_plugins(folder: Path) -> None:
    """Raises ConfigError if the model in a folder needs a plug-in that nobody has imported or asked for."""
    try:
        metadata = json.loads((folder / "checkpoint.json").read_text())["metadata"]
        names = written_plugins(metadata).values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # whoever reads it says what is wrong
    for name in names:
        if plugins.module_of(name) not in sys.modules:
            raise ConfigError(
                f"{folder} was trained with the plug-in {name}; importing that runs its code: if you trust it, name it "
                f"with --import {name}"
            )


def _fetched(trial: TrialRecord, url: str) -> Path:
    """A copy of a checkpoint at a URL: in the folder of its sweep, if that is on this machine, else in the cache."""
    folder = sweep_folder(trial)
    cache = cache_folder() / "runs" / trial.run_id if folder is None else folder.fetched(trial.trial)
    try:
        return fetch(url, cache, patience=FETCH_PATIENCE)
    except OSError as error:
        raise GensweepError(f"the checkpoint of {trial.name} cannot be fetched: {error}") from error


def _named(name: str, sweeps: Sequence[SweepRecord], asked: str | None = None) -> SweepRecord:
    for sweep in sweeps:
        if name == sweep.name or (len(name) >= 6 and sweep.run_id.startswith(name)):
            return sweep
    known = list(dict.fromkeys(sweep.name for sweep in sweeps))
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"{asked or name!r} is not a sweep or run{hint} (known sweeps: {', '.join(known[:10])})")
