"""What a run holds besides its tags: histories of numbers, and files that are fetched when they are asked for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from gensweep.cache import cache_folder
from gensweep.errors import GensweepError
from gensweep.files import replace_folder
from gensweep.redaction import redact_tree
from gensweep.results import Evaluation, better
from gensweep.sweep.events import Evaluated, Progressed
from gensweep.sweep.log import EventLog
from gensweep.sweep.trial_state import TrialState
from gensweep.tracking.logged_models import ESTIMATES, MODEL_URI, checkpoint_in
from gensweep.tracking.records import SweepRecord, TrialRecord, logged_state, sweep_folder
from gensweep.tracking.relocation import local_path
from gensweep.tracking.store import client, explaining_errors


def metric_history(trial: TrialRecord, metric: str) -> list[tuple[int, float]]:
    """(images seen, value) of a metric, in order of images; where a step was repeated, its last value.

    From the log of the trial's sweep, if that is on this machine, else from MLflow.
    """
    logged = _logged_trial(trial)
    if logged is not None and any(metric in each.evaluation.scores for each in logged.evaluations.values()):
        evaluations = (each.evaluation for _, each in sorted(logged.evaluations.items()))
        return _finite((each.images, each.scores[metric].value) for each in evaluations if metric in each.scores)
    folder = sweep_folder(trial)
    with suppress(GensweepError):
        if folder is not None:
            return _finite(_logged_histories(folder.log.file, trial.trial, *folder.log.version).get(metric, []))
    return stored_history(trial, metric)


def stored_history(trial: TrialRecord, metric: str) -> list[tuple[int, float]]:
    """The same, from MLflow."""
    points = sorted(client().get_metric_history(trial.run_id, metric), key=lambda point: (point.step, point.timestamp))
    return _finite((int(point.step), float(point.value)) for point in points)


@lru_cache(maxsize=64)
def _logged_histories(file: Path, trial: str, *version: int) -> dict[str, list[tuple[int, float]]]:
    """All numbers that a log has of a trial, by metric."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event, *_ in EventLog(file).read(trial=trial):
        match event:
            case Progressed(_, images, numbers):
                pass
            case Evaluated(_, evaluation):
                images, numbers = evaluation.images, evaluation.numbers()
            case _:
                continue
        for metric, value in numbers.items():
            found.setdefault(metric, []).append((images, value))
    return {metric: sorted(points, key=itemgetter(0)) for metric, points in found.items()}


def _finite(points: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    return list({images: value for images, value in points if math.isfinite(value)}.items())


def evaluations_until(trial: TrialRecord, images: int, metric: str) -> list[Evaluation]:
    """Its evaluations up to that after so many images, but those before with a better score, by a metric.

    From the log of the trial's sweep; none if that is not on this machine, or knows of no evaluation then.
    """
    logged = _logged_trial(trial)
    found = {} if logged is None else {number: each.evaluation for number, each in logged.evaluations.items()}
    if images not in found or metric not in found[images].scores:
        return []
    last = found[images].scores[metric]
    before = (each for number, each in sorted(found.items()) if number < images and metric in each.scores)
    return [*(each for each in before if not better(each.scores[metric], last)), found[images]]


def influences(trial: TrialRecord, metric: str) -> list[float] | None:
    """What each image adds to the corrected score of a trial's best checkpoint; None if it is not on record."""
    try:
        file = Path(trial.checkpoint or "", ESTIMATES)
        if trial.checkpoint is None or not file.is_file():
            if not _has(trial, ESTIMATES):
                return None
            file = download(trial.run_id, ESTIMATES)
        found = json.loads(file.read_text())[metric]["influences"]
    except (GensweepError, OSError, ValueError, KeyError, TypeError):
        return None
    return [float(value) for value in found]


def sample_grid(trial: TrialRecord, key: str = "samples") -> bytes | None:
    """PNG bytes of the sample grid of a trial's best checkpoint, else its latest; None if it never drew one.

    By another `key` another picture of checkpoints, such as "suspects".
    """
    if trial.checkpoint is not None and (file := Path(trial.checkpoint) / f"{key}.png").is_file():
        return file.read_bytes()
    if (folder := sweep_folder(trial)) is not None:
        kept = folder.pictures_of(trial.trial, key)
        logged = _logged_trial(trial) if kept else None
        scored = 0 if logged is None or logged.best is None else logged.best.evaluation.images
        return kept.get(scored, kept[max(kept)]).read_bytes() if kept else None
    store = client()
    found: dict[int, str] = {}
    for item in store.list_artifacts(trial.run_id, "images"):
        if match := re.search(rf"{key}\+step\+(\d+)\+[^/]*(?<!\+compressed)\.png$", item.path):
            found[int(match[1])] = item.path
    if not found:
        return None
    best = store.get_run(trial.run_id).data.tags.get("gensweep.objective_images", "")
    step = int(best) if best.isdigit() and int(best) in found else max(found)
    return download(trial.run_id, found[step]).read_bytes()


def trial_config(trial: TrialRecord) -> dict[str, Any]:
    """The effective configuration of a trial, as the tree that it was trained with, without secrets.

    The length of a training that was bounded in time is the number of images that it had come to.
    Raises GensweepError if neither its sweep's log nor MLflow has it.
    """
    logged = _logged_trial(trial)
    tree = _stored_config(trial) if logged is None else json.loads(json.dumps(redact_tree(logged.config), default=str))
    if trial.length is not None and tree.get("training", {}).get("device_seconds") is not None:
        tree["training"] |= {"images": trial.length, "device_seconds": None}
    return tree


def sweep_config(sweep: SweepRecord) -> dict[str, Any]:
    """The configuration of a sweep, as the tree that it was started with.

    Raises GensweepError if MLflow does not have it.
    """
    return _stored_config(sweep)


def _stored_config(run: TrialRecord | SweepRecord) -> dict[str, Any]:
    if not _has(run, "config.yaml"):
        raise GensweepError(f"{run.name} has no config.yaml in MLflow; name another run")
    try:
        tree = yaml.safe_load(download(run.run_id, "config.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        tree = None
    if not isinstance(tree, dict):
        raise GensweepError(f"the config.yaml of {run.name} in MLflow is damaged; name another run")
    return tree


def download(run_id: str, path: str) -> Path:
    """A file or folder of a run, on this machine.  Raises GensweepError if it cannot be had."""
    # Artifacts that lie on this machine are handed out in place; others are kept for the next time.
    target = cache_folder() / "runs" / run_id
    target.mkdir(parents=True, exist_ok=True)
    with explaining_errors(f"{path} of run {run_id} cannot be downloaded: CAUSE"):
        return Path(client().download_artifacts(run_id, path, str(target)))


def fetch_model(uri: str) -> Path:
    """The checkpoint in a model of MLflow, on this machine; `uri` is models:/ID, models:/NAME/VERSION or with @ALIAS.

    Raises GensweepError if it cannot be had.
    """
    store = client()
    with explaining_errors(f"{uri} cannot be had: CAUSE"):
        name, _, rest = uri.removeprefix(MODEL_URI).strip("/").partition("@" if "@" in uri else "/")
        if rest:
            find = store.get_model_version_by_alias if "@" in uri else store.get_model_version
            name = str(find(name, rest).source).removeprefix(MODEL_URI)
        location = store.get_logged_model(name).artifact_location
        if (folder := local_path(location)) is not None:
            return checkpoint_in(folder)
        copy = cache_folder() / "models" / name
        if not copy.is_dir():
            from mlflow.artifacts import download_artifacts

            copy.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=".", dir=copy.parent) as aside:
                replace_folder(Path(download_artifacts(artifact_uri=location, dst_path=aside)), copy)
    return checkpoint_in(copy)


def _has(run: TrialRecord | SweepRecord, path: str) -> bool:
    return any(item.path == path for item in client().list_artifacts(run.run_id))


def _logged_trial(trial: TrialRecord) -> TrialState | None:
    state = logged_state(trial)
    return None if state is None else state.trials.get(trial.trial)
