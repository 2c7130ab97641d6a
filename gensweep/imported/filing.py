"""Imported images as entries of the store: a sweep of one trial each, for `best --compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from mlflow.exceptions import MlflowException

from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.files import replace_folder
from gensweep.imported.protocols import EvaluationProtocol
from gensweep.imported.scoring import ImportedEvaluation
from gensweep.results import Cost, Evaluation
from gensweep.sweep.events import Created, Ended, Evaluated, SessionEnded, SessionStarted, Started, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.tracking.provenance import git_state, provenance_tags
from gensweep.tracking.records import SweepRecord, logged_sweep_id
from gensweep.tracking.runs import load_sweeps
from gensweep.tracking.store import client, store_name
from gensweep.tracking.sync import sync
from gensweep.training.result_files import pictures_of

#: The only trial of an entry.
TRIAL = "t0000"
#: The folder of all sweeps.
ROOT = Path("sweeps")


def taken(name: str, *, replace: bool) -> list[SweepRecord]:
    """The entries of that name, which a new one is to replace.

    Raises ConfigError for what cannot be a sweep's name, if there are some and they are not to be replaced, or if
    something of that name was trained, or lies in its folder and is not in this store.
    """
    folder = SweepFolder(ROOT, name)
    if folder.path.exists():
        sync(folder)  # it may be new to the store
    try:
        found = [sweep for sweep in load_sweeps() if sweep.name == name]
    except NothingToCompareError:
        found = []
    if folder.path.exists() and logged_sweep_id(folder) not in [sweep.sweep_id for sweep in found]:
        raise ConfigError(
            f"--name {name}: {folder.path} holds a sweep that is not in {store_name()}; choose another name"
        )
    if any(not sweep.trials or not all(trial.imported for trial in sweep.trials) for sweep in found):
        raise ConfigError(f"--name {name}: a sweep of this name was trained; choose another name")
    if found and not replace:
        raise ConfigError(f"--name {name} is taken; choose another name, or give --replace to put this in its place")
    return found


def file_entry(
    name: str, imported: ImportedEvaluation, protocol: EvaluationProtocol, old: Sequence[SweepRecord]
) -> None:
    """File scores under a name, with pictures of the first images, and take old entries away.

    Raises GensweepError if the store does not take it; the next command sends it then.
    """
    result = imported.result
    tree = {"seed": imported.seed, **protocol.sections(), "family": dict(imported.origin)}
    cost = Cost(
        sample_seconds=imported.sample_seconds, evaluate_seconds=result.evaluate_seconds, params=imported.params
    )
    evaluation = Evaluation(0, result.scores, cost, result.signals)
    ROOT.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}-", dir=ROOT) as aside:
        folder = SweepFolder(Path(aside), name)
        folder.create({"sweep": {"name": name, "base": tree}})
        mode = result.scores[protocol.metric].mode
        for event in (
            Created(uuid4().hex, name, protocol.metric, mode, trials=1, keep_best=0),
            SessionStarted(1, store_name(), provenance_tags(git_state(), {"base": tree}, None)),
            Suggested(TRIAL, 0, {}, {}, tree),
            Started(TRIAL),
            Evaluated(TRIAL, evaluation, None),
            Ended(TRIAL, "finished"),
            SessionEnded("finished"),
        ):
            folder.log.append(event)
        for key, write in pictures_of(result, imported.evaluator.images).items():
            picture = folder.picture(TRIAL, evaluation.images, key)
            picture.parent.mkdir(parents=True, exist_ok=True)
            write(picture)
        replace_folder(folder.path, ROOT / name)
    if sync(SweepFolder(ROOT, name)):
        raise GensweepError(f"MLflow did not take the result as {name} yet; any later command sends it")
    try:
        for run_id in [run_id for sweep in old for run_id in (sweep.run_id, *(t.run_id for t in sweep.trials))]:
            client().delete_run(run_id)
    except MlflowException as error:
        cause = str(error).partition("\n")[0]
        raise GensweepError(f"{name} is filed, but the old entry could not be deleted ({cause})") from error
