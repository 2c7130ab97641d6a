"""Imported images as entries of the store: a sweep of one trial each, for `best --compare`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.files import replace_folder
from gensweep.imported.protocols import EvaluationProtocol
from gensweep.imported.scoring import ImportedEvaluation
from gensweep.results import Cost, Evaluation
from gensweep.sweep.events import Created, Ended, Evaluated, SessionEnded, SessionStarted, Started, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.tracking.provenance import git_state, provenance_tags
from gensweep.tracking.runs import load_sweeps
from gensweep.tracking.store import client, store_name
from gensweep.tracking.sweeps import Sweep
from gensweep.tracking.view import sync

__all__ = ["file_entry", "taken"]

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
    name: str,
    imported: ImportedEvaluation,
    protocol: EvaluationProtocol,
    pictures: Mapping[str, Path],
    old: Sequence[Sweep] = (),
    *,
    root: Path = Path("sweeps"),
) -> None:
    """File scores under a name, with pictures of the first images, and take old entries away.

    Raises GensweepError if the store does not take it; the next command sends it then.
    """
    from mlflow.exceptions import MlflowException

    tree = {"seed": imported.seed, **protocol.tree(), "family": dict(imported.origin)}
    cost = Cost(
        sample_seconds=imported.sample_seconds,
        evaluate_seconds=imported.result.evaluate_seconds,
        params=imported.params,
    )
    evaluation = Evaluation(0, imported.scores, cost, imported.result.signals)
    with TemporaryDirectory(prefix=f".{name}-", dir=_made(root)) as aside:
        folder = SweepFolder(Path(aside), name)
        folder.create({"sweep": {"name": name, "base": tree}})
        mode = imported.scores[protocol.metric].mode
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
        for key, picture in pictures.items():
            target = folder.picture(TRIAL, evaluation.images, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)
        replace_folder(folder.path, root / name)
    if sync(SweepFolder(root, name)):
        raise GensweepError(f"MLflow did not take the result as {name} yet; any later command sends it")
    store = client()
    try:
        for run_id in [run_id for sweep in old for run_id in (sweep.run_id, *(t.run_id for t in sweep.trials))]:
            store.delete_run(run_id)
    except MlflowException as error:
        cause = str(error).partition("\n")[0]
        raise GensweepError(f"{name} is filed, but the old entry could not be deleted ({cause})") from error


def _made(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    return root
