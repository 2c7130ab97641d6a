"""How MLflow shows a sweep: the tags, params and statuses of its runs as they follow from its state, and back.

Everything secret is taken out on the way there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from gensweep.config.tree import flatten
from gensweep.redaction import redact, redact_tree
from gensweep.remote_folder import is_url
from gensweep.results import UNBIASED_PARTS, Anchor, Anchors, Cost, Evaluation, Identity, Score, Unit
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState, TrialState
from gensweep.tracking.last_answer import StoredRun
from gensweep.tracking.records import IMPORTED_FAMILIES, CloneStep, SweepRecord, TrialRecord, sweep_folder

SWEEP_ID = "gensweep.sweep_id"
TRIAL = "gensweep.trial"
#: How many bytes of the log the store has.
POSITION = "gensweep.position"
#: After how many training images the checkpoint was made that is kept among a trial's artifacts, if one is.
KEPT_IMAGES = "gensweep.kept_images"

#: MLflow's word for how a sweep or a trial stands.  A pruned trial was stopped on purpose before its budget was used
#: up, which is what KILLED says to a reader of the MLflow UI; gensweep.status tells it apart from an interrupted one.
RUN_STATUS = {
    "waiting": "RUNNING",
    "paused": "RUNNING",
    "running": "RUNNING",
    "finished": "FINISHED",
    "pruned": "KILLED",
    "stopped": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}

#: Numbers beside a score that tables and warnings look at, as they do at all that begin with "signal/".
SIGNALS = ("diversity", "authpct/memorised")

#: What a trial costs, by name of the metric.
COSTS = tuple(each.name for each in fields(Cost))
#: The costs that are whole numbers.
COUNTED_COSTS = ("images", "params", "activation_bytes", "memory_bytes")


def sweep_tags(state: SweepState, folder: SweepFolder) -> dict[str, str | None]:
    """The tags of the sweep's run; None for those that it should not have."""
    best, score = state.best, state.best_score
    budget = None if state.created is None else state.created.budget
    return {
        **(state.sessions[-1].tags if state.sessions else {}),
        # Later sessions only went on with what the first one began.
        "gensweep.command": state.sessions[0].tags.get("gensweep.command") if state.sessions else None,
        "gensweep.metric": state.metric,
        "gensweep.mode": state.mode,
        "gensweep.status": state.status,
        "gensweep.folder": str(folder.path),
        "gensweep.unit": state.unit,
        "gensweep.budget": None if budget is None else repr(budget),
        "gensweep.best_trial": None if best is None else best.trial,
        **_source_tags(state),
        **({} if score is None else _identity_tags(score)),
        "gensweep.best_objective": None if score is None else repr(score.value),
    }


def trial_tags(state: SweepState, trial: TrialState, folder: SweepFolder) -> dict[str, str | None]:
    """The tags of a trial's run; None for those that it should not have."""
    objective, best, rescored = trial.objective, trial.best, trial.rescored
    checkpoint = None if best is None or trial.status == "running" else _stored_checkpoint(folder, best.uri)
    return {
        **_source_tags(state),
        "gensweep.status": trial.status,
        "gensweep.repeat_of": trial.repeat_of,
        "gensweep.lineage": _lineage_text(trial),
        "gensweep.length": None if trial.length is None else str(trial.length),
        "gensweep.metric": state.metric,
        "gensweep.family": trial.family,
        "gensweep.params": json.dumps(redact_tree(dict(trial.params)), default=str),
        "gensweep.seed": str(trial.config.get("seed", "")),
        "gensweep.folder": str(folder.path),
        "gensweep.images": str(trial.images),
        "gensweep.error": None if trial.error is None else redact(trial.error),
        "gensweep.outside": "true" if trial.outside else None,
        "gensweep.objective": None if objective is None else repr(objective.value),
        "gensweep.objective_images": None if best is None else str(best.evaluation.images),
        "gensweep.signals": None if best is None else json.dumps(_shown_numbers(state.metric, best.evaluation)),
        "gensweep.checkpoint": checkpoint,
        "gensweep.best": "true" if state.best is trial else None,
        "gensweep.anchors": None if objective is None else _anchors_text(objective),
        "gensweep.never_improved": "true" if trial.never_improved else None,
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
        unit=cast(Unit, tags.get("gensweep.unit", "images")),
        budget=float(tags["gensweep.budget"]) if "gensweep.budget" in tags else None,
        trials=tuple(sorted((_trial_record(trial, mode) for trial in trials), key=lambda trial: trial.trial)),
    )


def _trial_record(run: StoredRun, mode: Literal["min", "max"]) -> TrialRecord:
    tags, config = run.tags, run.params
    family = tags.get("gensweep.family") or config.get("family.kind", "")
    numbers, rescored = (json.loads(tags.get(f"gensweep.{name}", "{}")) for name in ("signals", "rescored"))
    trial = TrialRecord(
        sweep=tags.get("gensweep.sweep", ""),
        trial=tags.get(TRIAL, ""),
        run_id=run.run_id,
        family=family,
        status=tags.get("gensweep.status", run.status.lower()),
        started=_start(run),
        objective=_objective(tags, numbers, mode),
        rescored=Score.from_dict(rescored) if rescored else None,
        never_improved=tags.get("gensweep.never_improved") == "true",
        cost=_cost(run.metrics, None if family in IMPORTED_FAMILIES else tags.get("gensweep.images")),
        signals={key: value for key, value in numbers.items() if _is_signal(key)},
        params=_params(tags.get("gensweep.params", ""), config),
        config=dict(config),
        error=tags.get("gensweep.error"),
        outside=tags.get("gensweep.outside") == "true",
        best=tags.get("gensweep.best") == "true",
        repeat_of=tags.get("gensweep.repeat_of"),
        lineage=_lineage(tags.get("gensweep.lineage", "[]")),
        length=int(tags["gensweep.length"]) if "gensweep.length" in tags else None,
        folder=tags.get("gensweep.folder"),
        sweep_id=tags.get(SWEEP_ID, ""),
    )
    return replace(trial, checkpoint=_checkpoint(trial, run))


def _objective(tags: Mapping[str, str], numbers: Mapping[str, float], mode: Literal["min", "max"]) -> Score | None:
    if "gensweep.objective" not in tags:
        return None
    value, identity = float(tags["gensweep.objective"]), json.loads(tags["gensweep.identity"])
    parts = {part: numbers.get(f"{identity['metric']}/{part}") for part in UNBIASED_PARTS}
    known: dict[str, Any] = {part: number for part, number in parts.items() if number is not None}
    anchors = json.loads(tags.get("gensweep.anchors", "{}"))
    floor, ceiling = (Anchor.from_dict(anchors.get(name)) for name in Anchors._fields)
    return Score(value, mode, Identity.from_dict(identity), floor=floor, ceiling=ceiling, **known)


def _cost(metrics: Mapping[str, float], images: str | None) -> Cost:
    """The newest costs; the training images are those of the whole training."""
    known: dict[str, Any] = {name: metrics[name] for name in COSTS if name in metrics}
    known |= {} if images in (None, "0") else {"images": images}
    return Cost(**{name: int(value) if name in COUNTED_COSTS else value for name, value in known.items()})


def _params(text: str, config: Mapping[str, str]) -> dict[str, Any]:
    try:
        chosen: dict[str, Any] = json.loads(text or "{}")
    except ValueError:
        # A tag that was too long is cut off and no longer JSON: readable keys take their values from the run's params.
        chosen = {key: config[key] for key in re.findall(r'"([\w.]+)": ', text) if key in config}
    return chosen


def _lineage(text: str) -> tuple[CloneStep, ...]:
    try:
        return tuple(CloneStep(step["source"], step["images"], step["changed"]) for step in json.loads(text))
    except ValueError:  # a tag that was too long is cut off
        return ()


def _checkpoint(trial: TrialRecord, run: StoredRun) -> str | None:
    """A folder on this machine if there is one, else runs:/ID/checkpoint if it was kept there, else a URL, or None."""
    local = run.tags.get("gensweep.checkpoint")
    kept = KEPT_IMAGES in run.tags
    artifacts = re.sub(r"^file:/*(?=/)", "", run.artifact_uri)
    if kept and (folder := Path(artifacts) / "checkpoint").is_dir():
        return str(folder.resolve())
    if local is not None and (Path(local) / "checkpoint.json").is_file() and sweep_folder(trial) is not None:
        return local
    if kept:
        return f"runs:/{trial.run_id}/checkpoint"
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


def _lineage_text(trial: TrialState) -> str | None:
    """The clonings by which a trial came to its weights, as JSON; None if it has only its own."""
    steps = [{"source": e.source, "images": e.images, "changed": redact_tree(dict(e.changed))} for e in trial.lineage]
    return json.dumps(steps, default=str) if steps else None


def _anchors_text(score: Score) -> str | None:
    """What a score is read beside, as JSON; None if there is nothing."""
    anchors = {name: anchor for name in Anchors._fields if (anchor := score.as_dict().get(name)) is not None}
    return json.dumps(anchors) if anchors else None


def _identity_tags(score: Score) -> dict[str, str]:
    identity = score.identity.as_dict()
    return {"gensweep.identity": json.dumps(identity), "gensweep.data_fingerprint": score.identity.reference}


def _shown_numbers(metric: str, evaluation: Evaluation) -> dict[str, float]:
    unbiased = [f"{metric}/{part}" for part in UNBIASED_PARTS]
    return {key: value for key, value in evaluation.numbers().items() if key in unbiased or _is_signal(key)}


def _is_signal(key: str) -> bool:
    return key in SIGNALS or key.startswith("signal/")


def _start(run: StoredRun) -> datetime:
    return datetime.fromtimestamp(run.started / 1000, UTC)
