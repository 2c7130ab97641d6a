"""Where a sweep's first trial begins that goes on from the checkpoint of an earlier training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gensweep.causes import file_problem
from gensweep.errors import GensweepError
from gensweep.results import Evaluation
from gensweep.sweep.checkpoints import checkpoint_uri, store
from gensweep.sweep.events import Evaluated
from gensweep.sweep.trial_state import TrialState


@dataclass(frozen=True)
class Start:
    """The checkpoint of an earlier training, of so many images, that the first trial goes on from; `run` names it.

    `evaluations` are those of that training until there, as plain values, if they are on record.
    """

    run: str
    images: int
    folder: str
    evaluations: Sequence[Mapping[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for sweep.json; `Start(**values)` takes them back."""
        return asdict(self)


def stored_start(start: Start, root: str, trial: str) -> dict[str, Any]:
    """What the log says of it, once the checkpoint lies among the trial's own, below the root of the sweep's storage.

    Raises GensweepError if it cannot be copied there.
    """
    uri, folder = checkpoint_uri(root, trial, start.images), Path(start.folder)
    if not folder.is_dir():
        raise GensweepError(f"the checkpoint {folder} of {start.run} is not there any more; begin again")
    try:
        store(folder, uri)
    except OSError as error:
        why = file_problem(error) or error
        raise GensweepError(f"the checkpoint {folder} cannot be copied to {uri}: {why}") from error
    return {"run": start.run, "images": start.images, "uri": uri}


def earlier_scores(start: Start, logged: Mapping[str, Any], trial: TrialState) -> Iterator[Evaluated]:
    """What a trial has not heard yet of how the training scored until its start, which the log says so much of."""
    for evaluation in map(Evaluation.from_dict, start.evaluations):
        if evaluation.images not in trial.evaluations:
            yield Evaluated(trial.trial, evaluation, logged["uri"] if evaluation.images == start.images else None)
