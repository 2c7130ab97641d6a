"""The tags and params of a sweep's runs in MLflow, derived from its state, without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gensweep.config.tree import flatten
from gensweep.redaction import redact, redact_tree
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: The description of a run.
DESCRIPTION = "mlflow.note.content"
SWEEP_ID = "gensweep.sweep_id"
TRIAL = "gensweep.trial"


def sweep_tags(state: SweepState, folder: SweepFolder) -> dict[str, str | None]:
    """The tags of the sweep's run; None deletes a tag."""
    best, score = state.best, state.best_score
    session = state.sessions[-1].tags if state.sessions else {}
    return {
        **session,
        "gensweep.command": state.sessions[0].tags.get("gensweep.command") if state.sessions else None,
        "gensweep.metric": state.metric,
        "gensweep.mode": state.mode,
        "gensweep.status": state.status,
        "gensweep.folder": str(folder.path),
        "gensweep.best_score": None if best is None else best.trial,
        "gensweep.data_fingerprint": None if score is None else score.identity.reference,
        "gensweep.best_objective": None if score is None else repr(score.value),
    }


def trial_tags(state: SweepState, trial: TrialState) -> dict[str, str | None]:
    """The tags of a trial's run; None deletes a tag."""
    objective, rescored = trial.score, trial.rescored
    return {
        "gensweep.status": trial.status,
        "gensweep.repeat_of": trial.repeat_of,
        "gensweep.family": trial.family,
        "gensweep.seed": str(trial.config.get("seed", "")),
        "gensweep.images": str(trial.images),
        "gensweep.error": None if trial.error is None else redact(trial.error),
        "gensweep.objective": None if objective is None else repr(objective.value),
        "gensweep.checkpoint": trial.checkpoint,
        "gensweep.best": "true" if state.best is trial else None,
        "gensweep.rescored": None if rescored is None else repr(rescored.value),
        "gensweep.data_fingerprint": None if objective is None else objective.identity.reference,
    }


def param_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as MLflow's params: flat, by dotted key."""
    flat = flatten(redact_tree(config))
    return {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in flat}


def source_tags(state: SweepState) -> dict[str, str]:
    """MLflow's own tags of a run's code."""
    tags = {"mlflow.source.name": "gensweep", "mlflow.source.type": "LOCAL"}
    commit = state.sessions[-1].tags.get("gensweep.git_commit") if state.sessions else None
    return tags if commit is None else {**tags, "mlflow.source.git.commit": commit}
