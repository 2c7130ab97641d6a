"""Images that were only judged here, as entries of the store: a sweep of one trial each, for `best --compare`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.tracking.records import Report, SweepStart, TrialEnd, TrialStart
from gensweep.tracking.runs import Sweep, Trial, load_sweeps
from gensweep.tracking.store import client
from gensweep.tracking.writer import MlflowWriter

if TYPE_CHECKING:
    from gensweep.imported.protocols import EvaluationProtocol
    from gensweep.imported.scoring import ImportedEvaluation

__all__ = ["evaluate_command", "file_entry", "taken"]

TRIAL = "t0000"


def taken(name: str, *, replace: bool) -> list[Sweep]:
    """The entries of that name, which a new one is to replace.

    Raises ConfigError if there are some and they are not to be replaced, or if something of that name was trained.
    """
    try:
        found = [sweep for sweep in load_sweeps() if sweep.name == name]
    except NothingToCompareError:
        return []
    if any(not sweep.trials or not all(trial.imported for trial in sweep.trials) for sweep in found):
        raise ConfigError(f"--name {name}: a sweep of this name was trained; choose another name")
    if found and not replace:
        raise ConfigError(f"--name {name} is taken; choose another name, or give --replace to put this in its place")
    return found


def file_entry(
    name: str, judged: ImportedEvaluation, protocol: EvaluationProtocol, grid: Path, old: Sequence[Sweep] = ()
) -> None:
    """File scores under a name, with a picture of the first images, and take old entries away.

    Raises GensweepError if the store does not take it; the old entries are still there then.
    """
    from mlflow.exceptions import MlflowException

    # Where the images come from stands in the place of a family.
    tree = {"seed": judged.seed, **protocol.tree(), "family": dict(judged.origin)}
    metric, scores = protocol.metric, judged.result.scores
    measured = {**scores, **judged.result.signals, "evaluate_seconds": judged.result.evaluate_seconds}
    if judged.sample_seconds is not None:
        measured["sample_seconds"] = judged.sample_seconds
    if judged.params is not None:
        measured["params"] = float(judged.params)
    identity, value = judged.identities[metric], scores[metric]
    with TemporaryDirectory(prefix="gensweep-") as place:
        writer = MlflowWriter({"name": name, "base": tree}, lasting=False)
        writer.sweep_started(SweepStart(name, Path(place), 1, 0, 1, metric, _mode(metric), False))
        writer.trial_started(TrialStart(TRIAL, {}, tree))
        writer.trial_reported(Report(TRIAL, 0, measured, identity, grid.parent))
        writer.trial_ended(TrialEnd(TRIAL, "finished", value, None, 0, None, measured, identity))
        writer.sweep_ended("finished")
        if writer.close():
            raise GensweepError(f"MLflow did not take the result as {name}; is the store up? Then repeat the command")
    store = client()
    try:
        for run_id in [run_id for sweep in old for run_id in (sweep.run_id, *(t.run_id for t in sweep.trials))]:
            store.delete_run(run_id)
    except MlflowException as error:
        cause = str(error).partition("\n")[0]
        raise GensweepError(f"{name} is filed, but the old entry could not be deleted ({cause})") from error


def evaluate_command(trial: Trial, like: str | None = None) -> str:
    """The command that judges the images of an entry again, as those of `like` were; by default as they were."""
    words, config = ["gensweep", "evaluate"], trial.config
    path = config.get("family.path", "FOLDER")
    if trial.family == "folder":
        words.append(path)
    else:
        words += ["--torchscript", path, "--latent", config.get("family.latent", "").strip("[]").replace(" ", "")]
        if (classes := config.get("family.classes", "null")) != "null":
            words += ["--classes", classes]
        if (values := config.get("family.output_range", "null")) != "null":
            words.append(f"--output-range={values.strip('[]').replace(' ', '')}")
        if (seed := config.get("seed", "0")) != "0":
            words += ["--seed", seed]
    return shlex.join([*words, "--like", like or trial.sweep, "--name", trial.sweep, "--replace"])


def _mode(metric: str) -> Any:
    from gensweep.metrics.metric import METRICS

    return METRICS[metric].mode
