"""Sweeps and trials as MLflow knows them: the read side, which needs nothing but the store."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.results import Cost, Identity, Score, ranking
from gensweep.tracking.artifacts import download
from gensweep.tracking.outcomes import sweep_folder
from gensweep.tracking.store import client, experiment_id, experiment_name
from gensweep.tracking.sweeps import IMPORTED_FAMILIES, SIGNALS, Sweep, Trial

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

__all__ = [
    "best_trial",
    "checkpoint_folder",
    "find_sweep",
    "find_trial",
    "load_sweeps",
    "trained_trial",
    "trial_config",
]


def load_sweeps(names: Sequence[str] = ()) -> list[Sweep]:
    """All sweeps of the experiment, or those that are named (by name or run id), newest first.

    Raises NothingToCompareError if there are none, GensweepError if a name is unknown.
    """
    store = client()
    experiment = experiment_id(store, create=False)
    runs = [] if experiment is None else list(_search(store, experiment, "tags.`gensweep.kind` != ''"))
    children: dict[str, list[Trial]] = {}
    parents = {str(run.info.run_id): run for run in runs if run.data.tags.get("gensweep.kind") == "sweep"}
    for run in runs:
        parent = parents.get(run.data.tags.get("mlflow.parentRunId", ""))
        if parent is not None and run.data.tags.get("gensweep.kind") == "trial":
            children.setdefault(str(parent.info.run_id), []).append(_trial(run, _mode(parent)))
    sweeps = [_sweep(run, children.get(run_id, [])) for run_id, run in parents.items()]
    sweeps.sort(key=lambda sweep: sweep.started, reverse=True)
    if not sweeps:
        raise NothingToCompareError(
            f"no sweep in the MLflow experiment {experiment_name()!r}; run: gensweep tune search_spaces/quickstart.yaml"
        )
    return [_named(name, sweeps) for name in dict.fromkeys(names)] if names else sweeps


def find_sweep(name: str) -> Sweep:
    """The newest sweep of that name, or the one with that run id.  Raises GensweepError if there is none."""
    return load_sweeps([name])[0]


def find_trial(run: str) -> Trial:
    """The trial that a user means by a run id or a beginning of one, "sweep/trial", or "sweep" (its best trial).

    Raises GensweepError if there is none, or if a beginning fits several.
    """
    wanted = re.sub(r"^runs:/+", "", run.strip()).removesuffix("/checkpoint").strip("/")
    sweeps = load_sweeps()
    for sweep in sweeps:
        if wanted == sweep.name or wanted == sweep.run_id:
            return best_trial(sweep)
    for sweep in sweeps:
        for trial in sweep.trials:
            if wanted in (trial.name, trial.run_id):
                return trial
    if re.fullmatch(r"[0-9a-f]{4,31}", wanted):
        everything: list[Trial | Sweep] = []
        for sweep in sweeps:
            everything += [*sweep.trials, sweep]
        fitting = [item for item in everything if item.run_id.startswith(wanted)]
        if len(fitting) > 1:
            names = ", ".join(f"{item.run_id[:12]} ({item.name})" for item in fitting[:5])
            raise GensweepError(f"{run!r} is the beginning of several run ids: {names}; type more of it")
        if fitting:
            return best_trial(fitting[0]) if isinstance(fitting[0], Sweep) else fitting[0]
    sweep = _named(wanted.partition("/")[0], sweeps, run)
    trials = ", ".join(trial.trial for trial in sweep.trials[:12]) or "none yet"
    raise GensweepError(
        f"{run!r} is not a run: {sweep.name} has the trials {trials}; see: gensweep trials {sweep.name}"
    )


def trained_trial(run: str) -> Trial:
    """The same, but something that was trained here.  Raises GensweepError if it was only judged."""
    trial = find_trial(run)
    if trial.imported:
        what = "a folder of images" if trial.family == "folder" else "a generator of another program"
        raise GensweepError(
            f"{trial.name} is {what} that was only scored here ({trial.config.get('family.path', 'path unknown')}): "
            "there is no checkpoint and no training to go on with; name a run of tune or train"
        )
    return trial


def best_trial(sweep: Sweep) -> Trial:
    """The trial with the best objective.  Raises NothingToCompareError if no trial has one."""
    ranked = ranking(sweep.trials)
    if not ranked:
        raise NothingToCompareError(
            f"no trial of {sweep.name} has a score yet ({len(sweep.trials)} trials); run: gensweep trials {sweep.name}"
        )
    return ranked[0]


def checkpoint_folder(run: str) -> Path:
    """The local folder of a run's best checkpoint, downloaded if need be; `run` may also be such a folder.

    Raises GensweepError if the run or its checkpoint does not exist, or if it was not trained here.
    """
    if (Path(run) / "checkpoint.json").is_file():
        return Path(run)
    if Path(run).is_dir() and ("/" in run or run.startswith(".")):
        raise GensweepError(f"{run} is not a checkpoint: it holds no checkpoint.json")
    trial = trained_trial(run)
    if trial.checkpoint is not None and Path(trial.checkpoint).is_dir():
        return Path(trial.checkpoint)
    if trial.checkpoint is not None:
        return download(trial.run_id, "checkpoint")
    raise GensweepError(
        f"the checkpoint of {trial.name} was not kept (keep_best keeps those of a sweep's best trials); "
        f"use {trial.sweep} for the best one, or train again: gensweep train --from-run {trial.name}"
    )


def trial_config(run: str) -> dict[str, Any]:
    """The effective configuration of a trial, as the tree that it was trained with.  `run` as in `find_trial`."""
    trial = find_trial(run)
    store = client()
    if not any(item.path == "config.yaml" for item in store.list_artifacts(trial.run_id)):
        raise GensweepError(f"{trial.name} has no config.yaml in MLflow; name another run")
    tree = yaml.safe_load(download(trial.run_id, "config.yaml").read_text(encoding="utf-8"))
    if not isinstance(tree, dict):
        raise GensweepError(f"the config.yaml of {trial.name} in MLflow is damaged; name another run")
    return tree


def _search(store: MlflowClient, experiment: str, query: str) -> Iterator[Run]:
    token: str | None = None
    while True:
        page = store.search_runs([experiment], query, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _mode(parent: Run) -> Literal["min", "max"]:
    return "max" if parent.data.tags.get("gensweep.mode") == "max" else "min"


def _sweep(run: Run, trials: list[Trial]) -> Sweep:
    tags = run.data.tags
    status = "interrupted" if run.info.status == "KILLED" else run.info.status.lower()
    return Sweep(
        name=tags.get("gensweep.sweep", run.info.run_name or run.info.run_id),
        run_id=str(run.info.run_id),
        status=tags.get("gensweep.status", status),
        started=_time(run),
        metric=tags.get("gensweep.metric", "fid"),
        mode=_mode(run),
        command=tags.get("gensweep.command", ""),
        folder=tags.get("gensweep.folder"),
        sweep_id=tags.get("gensweep.sweep_id", ""),
        tags=dict(tags),
        trials=tuple(sorted(trials, key=lambda trial: trial.trial)),
    )


def _trial(run: Run, mode: Literal["min", "max"]) -> Trial:
    tags, metrics, config = run.data.tags, run.data.metrics, run.data.params
    family = tags.get("gensweep.family") or config.get("family.kind", "")
    images = _whole(tags.get("gensweep.images")) or _whole(tags.get("gensweep.objective_images"))
    trial = Trial(
        sweep=tags.get("gensweep.sweep", ""),
        trial=tags.get("gensweep.trial", ""),
        run_id=str(run.info.run_id),
        family=family,
        status=tags.get("gensweep.status", run.info.status.lower()),
        started=_time(run),
        objective=_score(tags, mode),
        rescored=_rescored(tags),
        cost=Cost(
            images=None if family in IMPORTED_FAMILIES else images,
            flops=_finite(metrics.get("flops")),
            device_seconds=_finite(metrics.get("device_seconds")),
            train_seconds=_finite(metrics.get("train_seconds")),
            sample_seconds=_finite(metrics.get("sample_seconds")),
            evaluate_seconds=_finite(metrics.get("evaluate_seconds")),
            sample_flops=_finite(metrics.get("sample_flops")),
            params=_whole(metrics.get("params")),
            activation_bytes=_whole(metrics.get("activation_bytes")),
            memory_bytes=_whole(metrics.get("memory_bytes")),
        ),
        signals=_signals(tags),
        params=_params(tags, config),
        config=dict(config),
        error=tags.get("gensweep.error"),
        best=tags.get("gensweep.best") == "true",
        logged=frozenset(metrics),
        folder=tags.get("gensweep.folder"),
        sweep_id=tags.get("gensweep.sweep_id", ""),
    )
    return replace(trial, checkpoint=_checkpoint(trial, run))


def _score(tags: Mapping[str, str], mode: Literal["min", "max"]) -> Score | None:
    value, identity = _finite(tags.get("gensweep.objective")), _json_object(tags.get("gensweep.identity"))
    if value is None or not identity:
        return None
    told = _json_object(tags.get("gensweep.signals"))
    corrected, error = (_finite(told.get(f"{identity['metric']}/{name}")) for name in ("corrected", "error"))
    return Score(value, mode, Identity.from_dict(identity), corrected, error)


def _rescored(tags: Mapping[str, str]) -> Score | None:
    told = _json_object(tags.get("gensweep.rescored"))
    return Score.from_dict(told) if told else None


def _signals(tags: Mapping[str, str]) -> dict[str, float]:
    told = _json_object(tags.get("gensweep.signals"))
    return {key: value for key, value in told.items() if key in SIGNALS or key.startswith("signal/")}


def _params(tags: Mapping[str, str], config: Mapping[str, str]) -> dict[str, Any]:
    text = tags.get("gensweep.params", "")
    chosen = _json_object(text)
    # A tag that was too long is cut off and no longer JSON: readable keys take their values from the run's params.
    return chosen or {key: config[key] for key in re.findall(r'"([\w.]+)": ', text) if key in config}


def _checkpoint(trial: Trial, run: Run) -> str | None:
    """A folder on this machine if there is one, else runs:/ID/checkpoint if it was kept, else None."""
    local = run.data.tags.get("gensweep.checkpoint")
    kept = run.data.tags.get("gensweep.kept") == "true"
    artifacts = re.sub(r"^file:/*(?=/)", "", run.info.artifact_uri or "")
    if kept and (folder := Path(artifacts) / "checkpoint").is_dir():
        return str(folder.resolve())
    if local is not None and (Path(local) / "checkpoint.json").is_file() and sweep_folder(trial) is not None:
        return local
    return f"runs:/{trial.run_id}/checkpoint" if kept else None


def _named(name: str, sweeps: Sequence[Sweep], asked: str | None = None) -> Sweep:
    for sweep in sweeps:
        if name == sweep.name or (len(name) >= 6 and sweep.run_id.startswith(name)):
            return sweep
    known = list(dict.fromkeys(sweep.name for sweep in sweeps))
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise GensweepError(f"{asked or name!r} is not a sweep or run{hint} (known sweeps: {', '.join(known[:10])})")


def _time(run: Run) -> datetime:
    return datetime.fromtimestamp((run.info.start_time or 0) / 1000, UTC)


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _finite(value)
    return None if number is None else int(number)


def _json_object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
