"""A sweep's state as MLflow shows it: tags, params and statuses, with everything secret taken out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from gensweep.config.tree import flatten
from gensweep.results import Evaluation, Score
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState, TrialState
from gensweep.tracking.outcomes import newest_on_fresh_seeds
from gensweep.tracking.provenance import redact, redact_tree
from gensweep.tracking.sweeps import SIGNALS

__all__ = [
    "KEPT",
    "KEPT_IMAGES",
    "POSITION",
    "SWEEP_ID",
    "TRIAL",
    "mlflow_status",
    "param_texts",
    "sweep_tags",
    "trial_tags",
    "yaml_text",
]

SWEEP_ID = "gensweep.sweep_id"
TRIAL = "gensweep.trial"
#: How many bytes of the log the store has.
POSITION = "gensweep.position"
#: Whether a checkpoint is kept among a trial's artifacts, and after how many training images it was made.
KEPT, KEPT_IMAGES = "gensweep.kept", "gensweep.kept_images"

# A pruned trial was stopped on purpose before its budget was used up, which is what KILLED says to someone who reads
# the MLflow UI; gensweep.status tells it apart from an interrupted one.
_RUN_STATUS = {
    "waiting": "RUNNING",
    "running": "RUNNING",
    "finished": "FINISHED",
    "pruned": "KILLED",
    "stopped": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


def mlflow_status(status: str) -> str:
    """MLflow's word for how a sweep or a trial stands."""
    return _RUN_STATUS[status]


def sweep_tags(state: SweepState, folder: SweepFolder) -> dict[str, str | None]:
    """The tags of the sweep's run; None for those that it should not have."""
    best, created = state.best, state.created
    tags: dict[str, str | None] = {
        **(state.sessions[-1].tags if state.sessions else {}),
        "gensweep.metric": state.metric,
        "gensweep.mode": state.mode,
        "gensweep.status": state.status,
        "gensweep.folder": str(folder.path),
        "gensweep.best_trial": None if best is None else best.trial,
        "gensweep.best_objective": None if best is None or best.objective is None else repr(best.objective.value),
        **_source_tags(state),
    }
    if created is not None and best is not None and best.objective is not None:
        tags |= _identity_tags(best.objective)
    return tags


def trial_tags(state: SweepState, trial: TrialState, folder: SweepFolder) -> dict[str, str | None]:
    """The tags of a trial's run; None for those that it should not have."""
    family = trial.config.get("family", {})
    objective, best = trial.objective, trial.best
    checkpoint = None if best is None or trial.status == "running" else folder.local(trial.trial, best.uri)
    rescored = newest_on_fresh_seeds(trial)
    return {
        **_source_tags(state),
        "gensweep.status": trial.status,
        "gensweep.metric": state.metric,
        "gensweep.family": str(family.get("kind", "")) if isinstance(family, Mapping) else str(family),
        "gensweep.params": json.dumps(redact_tree(dict(trial.params)), default=str),
        "gensweep.seed": str(trial.config.get("seed", "")),
        "gensweep.folder": str(folder.path),
        "gensweep.images": str(trial.images),
        "gensweep.error": None if trial.error is None else redact(trial.error),
        "gensweep.objective": None if objective is None else repr(objective.value),
        "gensweep.objective_images": None if best is None else str(best.evaluation.images),
        "gensweep.signals": None if best is None else json.dumps(_signals(state.metric, best.evaluation)),
        "gensweep.checkpoint": None if checkpoint is None else str(checkpoint),
        "gensweep.best": "true" if state.best is trial else None,
        "gensweep.rescored": None if rescored is None else json.dumps(rescored.as_dict()),
        **({} if objective is None else _identity_tags(objective)),
    }


def param_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as MLflow's params: flat, by dotted key."""
    flat = {key: redact_tree(value, key.rpartition(".")[2]) for key, value in flatten(config)}
    return {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in flat.items()}


def yaml_text(tree: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    plain = json.loads(json.dumps(redact_tree(tree), default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _source_tags(state: SweepState) -> dict[str, str | None]:
    commit = state.sessions[-1].tags.get("mlflow.source.git.commit") if state.sessions else None
    return {
        "mlflow.source.name": "gensweep",
        "mlflow.source.type": "LOCAL",
        **({} if commit is None else {"mlflow.source.git.commit": commit}),
    }


def _identity_tags(score: Score) -> dict[str, str]:
    identity = score.identity.as_dict()
    return {"gensweep.identity": json.dumps(identity), "gensweep.data_fingerprint": score.identity.reference}


def _signals(metric: str, evaluation: Evaluation) -> dict[str, float]:
    shown = (*SIGNALS, f"{metric}/corrected", f"{metric}/error")
    numbers = evaluation.numbers()
    return {key: value for key, value in numbers.items() if key in shown or key.startswith("signal/")}
