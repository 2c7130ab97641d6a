"""What a run holds besides its tags: histories of numbers, and files that are fetched when they are asked for."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from gensweep.errors import GensweepError
from gensweep.tracking.records import SweepRecord, TrialRecord
from gensweep.tracking.store import client, explaining_errors

#: The file of a checkpoint, and of a run, that says how sure its scores are.
ESTIMATES = "estimates.json"


def metric_history(trial: TrialRecord, metric: str) -> list[tuple[int, float]]:
    """(images seen, value) of a metric, in order of images; where a step was repeated, its last value."""
    points = sorted(client().get_metric_history(trial.run_id, metric), key=lambda point: (point.step, point.timestamp))
    return list({int(point.step): float(point.value) for point in points if math.isfinite(point.value)}.items())


def influences(trial: TrialRecord, metric: str) -> list[float] | None:
    """What each image adds to the corrected score of a trial's best checkpoint; None if it is not on record."""
    try:
        file = Path(trial.checkpoint or "") / ESTIMATES
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
    """The effective configuration of a trial, as the tree that it was trained with.

    The length of a training that was bounded in time is the number of images that it had come to.
    Raises GensweepError if MLflow does not have it.
    """
    tree = _config(trial)
    if trial.length is not None and tree.get("training", {}).get("device_seconds") is not None:
        tree["training"] |= {"images": trial.length, "device_seconds": None}
    return tree


def sweep_config(sweep: SweepRecord) -> dict[str, Any]:
    """The configuration of a sweep, as the tree that it was started with.

    Raises GensweepError if MLflow does not have it.
    """
    return _config(sweep)


def _config(run: TrialRecord | SweepRecord) -> dict[str, Any]:
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
    from gensweep.cache import cache_folder

    # Artifacts that lie on this machine are handed out in place; others are kept for the next time.
    target = cache_folder() / "runs" / run_id
    target.mkdir(parents=True, exist_ok=True)
    with explaining_errors(f"{path} of run {run_id} cannot be downloaded: CAUSE"):
        return Path(client().download_artifacts(run_id, path, str(target)))


def _has(run: TrialRecord | SweepRecord, path: str) -> bool:
    return any(item.path == path for item in client().list_artifacts(run.run_id))
