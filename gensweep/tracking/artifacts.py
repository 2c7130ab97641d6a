"""What a run holds besides its tags: histories of numbers, and files that are fetched when they are asked for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from gensweep.errors import GensweepError
from gensweep.tracking.store import client
from gensweep.tracking.sweeps import ESTIMATES, Trial

__all__ = ["download", "file_interpretation", "influences", "metric_history", "sample_grid"]


#: The folder among a run's artifacts that holds what was found inside its networks.
INTERPRETATION = "interpretation"


def metric_history(trial: Trial, metric: str) -> list[tuple[int, float]]:
    """(images seen, value) of a metric, in order of images; where a step was repeated, its last value."""
    points = sorted(client().get_metric_history(trial.run_id, metric), key=lambda point: (point.step, point.timestamp))
    return list({int(point.step): float(point.value) for point in points if math.isfinite(point.value)}.items())


def influences(trial: Trial, metric: str) -> list[float] | None:
    """What each image adds to the corrected score of a trial's best checkpoint; None if it is not on record."""
    try:
        file = Path(trial.checkpoint or "") / ESTIMATES
        if trial.checkpoint is None or not file.is_file():
            if not any(item.path == ESTIMATES for item in client().list_artifacts(trial.run_id)):
                return None
            file = download(trial.run_id, ESTIMATES)
        found = json.loads(file.read_text())[metric]["influences"]
    except (GensweepError, OSError, ValueError, KeyError, TypeError):
        return None
    return [float(value) for value in found]


def sample_grid(trial: Trial, key: str = "samples") -> bytes | None:
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
    best = client().get_run(trial.run_id).data.tags.get("gensweep.objective_images", "")
    step = int(best) if best.isdigit() and int(best) in found else max(found)
    return download(trial.run_id, found[step]).read_bytes()


def file_interpretation(run_id: str, files: Sequence[Path]) -> None:
    """File the page, pictures and tables of `gensweep interpret` under a run, over earlier ones of the same names.

    Raises GensweepError if the store does not take them.
    """
    from mlflow.exceptions import MlflowException

    store = client()
    try:
        for file in files:
            store.log_artifact(run_id, str(file), INTERPRETATION)
    except (MlflowException, OSError) as error:
        cause = str(error).strip().partition("\n")[0][:300]
        raise GensweepError(f"MLflow did not take the page ({cause}); it is in {files[0].parent}") from error


def download(run_id: str, path: str) -> Path:
    """A file or folder of a run, on this machine.  Raises GensweepError if it cannot be had."""
    from mlflow.exceptions import MlflowException

    from gensweep.cache import cache_folder

    # Artifacts that lie on this machine are handed out in place; others are kept for the next time.
    target = cache_folder() / "runs" / run_id
    target.mkdir(parents=True, exist_ok=True)
    try:
        return Path(client().download_artifacts(run_id, path, str(target)))
    except (MlflowException, OSError) as error:
        raise GensweepError(
            f"{path} of run {run_id} cannot be downloaded: {str(error).partition(chr(10))[0]}"
        ) from error
