"""How MLflow shows a sweep: the tags, params and statuses of its runs as they follow from its state, and back.

Everything secret is taken out on the way there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from gensweep.config.tree import flatten
from gensweep.redaction import redact, redact_tree
from gensweep.remote_folder import is_url
from gensweep.results import COSTS, Cost, Evaluation, Score, Unit
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState
from gensweep.tracking.last_answer import StoredRun
from gensweep.tracking.logged_models import MODEL_URI, checkpoint_in
from gensweep.tracking.provenance import PLUGINS
from gensweep.tracking.records import (
    IMPORTED_FAMILIES,
    CloneStep,
    ObjectiveValue,
    SweepRecord,
    TrialRecord,
    sweep_folder,
)
from gensweep.tracking.relocation import local_path

SWEEP_ID = "gensweep.sweep_id"
TRIAL = "gensweep.trial"
#: How many bytes of the log the store has, or, of a trial's run, of which record its last numbers are; and what tells
#: the record that ends there from those that other logs of the sweep have at that place.
POSITION, POSITION_MARK = "gensweep.position", "gensweep.position_mark"
#: How many sessions the sweep has had: of two drivers' logs that differ, that of the later session counts.
SESSIONS = "gensweep.sessions"
#: How many bytes of the log the report knows that is filed with the sweep's run.
REPORTED = "gensweep.reported"
#: The file of a sweep's run that holds the details of its trials, by their names, and that of its last session's.
SESSION = "session.json"
#: A file has the details of so many trials: what a change of one writes does not grow with the sweep.
TRIALS_A_FILE = 100
#: The name of a trial, with its number.
NUMBERED_NAME = re.compile(r"t(\d+)")
#: Tags of a session that hold JSON.
SESSION_DETAILS = ("gensweep.versions", PLUGINS)
#: Tags of earlier versions that held JSON.
FORMER_TAGS = (
    *SESSION_DETAILS,
    *(f"gensweep.{name}" for name in ("params", "signals", "anchors", "identity", "lineage")),
)
#: In which way this version shows a sweep, and the tag that says so: one that is shown otherwise is shown anew.
VIEW, VIEW_FORMAT = "gensweep.view", "4"

#: MLflow's word for how a sweep or a trial stands.  A pruned trial was stopped on purpose before its budget was used
#: up, which is what KILLED says to a reader of the MLflow UI; gensweep.status tells it apart from an interrupted one.
RUN_STATUS = {
    "waiting": "RUNNING",
    "paused": "RUNNING",
    "running": "RUNNING",
    "finished": "FINISHED",
    "pruned": "KILLED",
    "infeasible": "KILLED",
    "stopped": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}

#: Numbers beside a score that tables and warnings look at, as they do at all that begin with "signal/".
SIGNALS = ("diversity", "authpct/memorised")

#: The costs that are whole numbers.
COUNTED_COSTS = ("images", "params", "activation_bytes", "memory_bytes")


def sweep_tags(state: SweepState, folder: SweepFolder) -> dict[str, str | None]:
    """The tags of the sweep's run; None for those that it should not have."""
    best, score = state.best, state.best_score
    session = state.sessions[-1].tags if state.sessions else {}
    budget = None if state.created is None else state.created.budget
    return {
        **{key: value for key, value in session.items() if key not in SESSION_DETAILS},
        # Later sessions only went on with what the first one began.
        "gensweep.command": state.sessions[0].tags.get("gensweep.command") if state.sessions else None,
        VIEW: VIEW_FORMAT,
        "gensweep.metric": state.metric,
        "gensweep.mode": state.mode,
        "gensweep.status": state.status,
        "gensweep.folder": str(folder.path),
        SESSIONS: str(len(state.sessions)),
        "gensweep.unit": state.unit,
        "gensweep.budget": None if budget is None else repr(budget),
        "gensweep.continues": None if state.created is None or not state.created.start else state.created.start["run"],
        "gensweep.best_trial": None if best is None else best.trial,
        **_source_tags(state),
        "gensweep.data_fingerprint": None if score is None else score.identity.reference,
        **dict.fromkeys(FORMER_TAGS),
        "gensweep.best_objective": None if score is None else repr(score.value),
    }


def trial_tags(state: SweepState, trial: TrialState, folder: SweepFolder) -> dict[str, str | None]:
    """The tags of a trial's run; None for those that it should not have."""
    objective, best, rescored = trial.objective, trial.best, trial.rescored
    checkpoint = None if best is None else _stored_checkpoint(folder, best.uri)
    return {
        **_source_tags(state),
        "gensweep.status": trial.status,
        "gensweep.repeat_of": trial.repeat_of,
        "gensweep.length": None if trial.length is None else str(trial.length),
        "gensweep.metric": state.metric,
        "gensweep.family": trial.family,
        "gensweep.seed": str(trial.config.get("seed", "")),
        "gensweep.folder": str(folder.path),
        "gensweep.images": str(trial.images),
        "gensweep.error": None if trial.error is None else redact(trial.error),
        "gensweep.outside": "true" if trial.outside else None,
        "gensweep.objective": None if objective is None else repr(objective.value),
        "gensweep.objective_images": None if best is None else str(best.evaluation.images),
        "gensweep.checkpoint": checkpoint,
        "gensweep.best": "true" if state.best is trial else None,
        "gensweep.never_improved": "true" if trial.never_improved else None,
        "gensweep.rescored": None if rescored is None else repr(rescored.value),
        "gensweep.data_fingerprint": None if objective is None else objective.identity.reference,
        **dict.fromkeys(FORMER_TAGS),
    }


def details_file(trial: TrialState) -> str:
    """The artifact of the sweep's run that has the details of a trial."""
    return _details_file(trial.number)


def details_files(trials: Iterable[str]) -> list[str]:
    """Those that have the details of trials with these names; a repeat of a trial, t0003-s1, has its number."""
    return sorted({_details_file(int(found[1])) for trial in trials if (found := NUMBERED_NAME.match(trial))})


def _details_file(number: int) -> str:
    return f"trials/{number // TRIALS_A_FILE:03d}.json"


def trial_details(state: SweepState, trial: TrialState) -> dict[str, Any]:
    """What a record of a trial has that is no plain text or number: an item of its `details_file`."""
    objective, best, rescored = trial.objective, trial.best, trial.rescored
    return {
        "params": redact_tree(dict(trial.params)),
        "lineage": [
            {"source": step.source, "images": step.images, "changed": redact_tree(dict(step.changed))}
            for step in trial.lineage
        ],
        "objective": None if objective is None else objective.as_dict(),
        "rescored": None if rescored is None else rescored.as_dict(),
        "further_scores": [each.as_dict() for each in trial.further_scores],
        "signals": {} if best is None else _signals(best.evaluation),
        "objectives": _objectives(trial),
        "broken_limits": list(trial.broken_limits),
    }


def session_details(tags: Mapping[str, str]) -> dict[str, Any]:
    """What a session's tags have as JSON, by their names without "gensweep."."""
    return {key.removeprefix("gensweep."): json.loads(tags[key]) for key in SESSION_DETAILS if key in tags}


def param_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as MLflow's params: flat, by dotted key."""
    flat = flatten(redact_tree(config))
    return {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in flat}


def yaml_text(tree: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    plain = json.loads(json.dumps(redact_tree(tree), default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def sweep_record(run: StoredRun, trials: Iterable[StoredRun]) -> SweepRecord:
    """What MLflow has of a sweep: its run, and those of its trials."""
    tags = run.tags
    mode: Literal["min", "max"] = "max" if tags.get("gensweep.mode") == "max" else "min"
    return SweepRecord(
        name=tags.get("gensweep.sweep", ""),
        run_id=run.run_id,
        status=tags.get("gensweep.status", run.status.lower()),
        started=_start(run),
        metric=tags.get("gensweep.metric", ""),
        command=tags.get("gensweep.command", ""),
        folder=tags.get("gensweep.folder"),
        sweep_id=tags.get(SWEEP_ID, ""),
        reported=POSITION in tags and tags.get(REPORTED) == tags[POSITION],
        unit=cast(Unit, tags.get("gensweep.unit", "images")),
        budget=float(tags["gensweep.budget"]) if "gensweep.budget" in tags else None,
        trials=tuple(sorted((_trial_record(trial, mode) for trial in trials), key=lambda trial: trial.trial)),
    )


def _trial_record(run: StoredRun, mode: Literal["min", "max"]) -> TrialRecord:
    tags, config = run.tags, run.params
    family = tags.get("gensweep.family") or config.get("family.kind", "")
    details = run.details
    objective, rescored = (details.get(name) for name in ("objective", "rescored"))
    trial = TrialRecord(
        sweep=tags.get("gensweep.sweep", ""),
        trial=tags.get(TRIAL, ""),
        run_id=run.run_id,
        family=family,
        status=tags.get("gensweep.status", run.status.lower()),
        started=_start(run),
        objective=None if objective is None else Score.from_dict(objective),
        rescored=Score.from_dict(rescored) if rescored else None,
        further_scores=tuple(map(Score.from_dict, details.get("further_scores", []))),
        never_improved=tags.get("gensweep.never_improved") == "true",
        cost=_cost(run.metrics, None if family in IMPORTED_FAMILIES else tags.get("gensweep.images")),
        signals=details.get("signals", {}),
        params=details.get("params", {}),
        config=dict(config),
        error=tags.get("gensweep.error"),
        outside=tags.get("gensweep.outside") == "true",
        best=tags.get("gensweep.best") == "true",
        repeat_of=tags.get("gensweep.repeat_of"),
        objectives=tuple(ObjectiveValue(*each) for each in details.get("objectives", [])),
        broken_limits=tuple(details.get("broken_limits", [])),
        lineage=tuple(CloneStep(**step) for step in details.get("lineage", [])),
        length=int(tags["gensweep.length"]) if "gensweep.length" in tags else None,
        folder=tags.get("gensweep.folder"),
        sweep_id=tags.get(SWEEP_ID, ""),
    )
    return replace(trial, checkpoint=_checkpoint(trial, run))


def _cost(metrics: Mapping[str, float], images: str | None) -> Cost:
    """The newest costs; the training images are those of the whole training."""
    known: dict[str, Any] = {name: metrics[name] for name in COSTS if name in metrics}
    known |= {} if images in (None, "0") else {"images": images}
    return Cost(**{name: int(value) if name in COUNTED_COSTS else value for name, value in known.items()})


def _checkpoint(trial: TrialRecord, run: StoredRun) -> str | None:
    """A folder on this machine if there is one, else the URI of the run's model if it has one, else a URL, or None."""
    local = run.tags.get("gensweep.checkpoint")
    if run.model_id is not None and (folder := local_path(run.model_location)) is not None and folder.is_dir():
        return str(checkpoint_in(folder))
    if local is not None and (Path(local) / "checkpoint.json").is_file() and sweep_folder(trial) is not None:
        return local
    if run.model_id is not None:
        return f"{MODEL_URI}{run.model_id}"
    return local if local is not None and is_url(local) else None


def _stored_checkpoint(folder: SweepFolder, uri: str | None) -> str | None:
    """Where a checkpoint lies: its folder, if that is on this machine, or its URL."""
    place = None if uri is None else folder.resolve(uri)
    return place if place is not None and (is_url(place) or Path(place).is_dir()) else None


def _source_tags(state: SweepState) -> dict[str, str | None]:
    commit = state.sessions[-1].tags.get("mlflow.source.git.commit") if state.sessions else None
    return {
        "mlflow.source.name": "gensweep",
        "mlflow.source.type": "LOCAL",
        **({} if commit is None else {"mlflow.source.git.commit": commit}),
    }


def _objectives(trial: TrialState) -> list[ObjectiveValue]:
    """Those of a scored trial, where there are several and all are known."""
    known = [(each, trial.values[each.metric]) for each in trial.objectives]
    values = [ObjectiveValue(each.metric, each.mode, value) for each, value in known if value is not None]
    return values if trial.best is not None and len(values) == len(known) > 1 else []


def _signals(evaluation: Evaluation) -> dict[str, float]:
    """What tables and warnings look at, and the details of metrics."""
    kinds = {"signal", *evaluation.scores}
    return {key: value for key, value in evaluation.signals.items() if key in SIGNALS or key.partition("/")[0] in kinds}


def _start(run: StoredRun) -> datetime:
    return datetime.fromtimestamp(run.started / 1000, UTC)
