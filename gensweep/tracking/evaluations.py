"""All evaluations of trials: from the log of their sweep, which is exact and fast, else from MLflow's histories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gensweep.results import Cost, Evaluation, Score
from gensweep.sweep.state import SweepState
from gensweep.tracking.artifacts import stored_history
from gensweep.tracking.records import TrialRecord, logged_state

#: Costs whose history is asked for; the others are the same at each evaluation, or not needed.
GROWING_COSTS = ("flops", "device_seconds", "scoring_device_seconds", "train_seconds")
#: Settings that give early evaluations another identity than the last.
RUNG_SETTINGS = ("evaluation.rung_samples", "evaluation.rung_steps")


def evaluations_of(trials: Iterable[TrialRecord]) -> dict[str, tuple[Evaluation, ...]]:
    """By run id, the evaluations of each trial that has a score, by training images.

    From MLflow they hold the objective only.  A trial whose history is nowhere has the one evaluation that its record
    tells of.
    """
    states: dict[str, SweepState | None] = {}
    found = {}
    for trial in trials:
        if trial.objective is not None:
            key = f"{trial.folder}:{trial.sweep_id}"
            if key not in states:
                states[key] = logged_state(trial)
            found[trial.run_id] = _evaluations(trial, states[key])
    return found


def _evaluations(trial: TrialRecord, state: SweepState | None) -> tuple[Evaluation, ...]:
    if state is not None and trial.trial in state.trials:
        logged = sorted(state.trials[trial.trial].evaluations.items())
        return tuple(event.evaluation for _, event in logged)
    assert trial.objective is not None
    only = Evaluation(trial.cost.images or 0, {trial.objective.metric: trial.objective}, trial.cost)
    return _from_store(trial, trial.objective) or (only,)


def _from_store(trial: TrialRecord, objective: Score) -> tuple[Evaluation, ...]:
    metric = objective.metric
    values = dict(stored_history(trial, metric))
    errors = {} if objective.error is None else dict(stored_history(trial, f"{metric}/error"))
    costs = {name: dict(stored_history(trial, name)) for name in GROWING_COSTS if getattr(trial.cost, name) is not None}
    if any(trial.config.get(name, "null") not in ("null", "None", "") for name in RUNG_SETTINGS):
        values = dict(list(values.items())[-1:])
    return tuple(
        Evaluation(
            images,
            {metric: Score(value, objective.mode, objective.identity, error=errors.get(images))},
            _cost_at(images, trial.cost, costs),
        )
        for images, value in values.items()
    )


def _cost_at(images: int, whole: Cost, costs: Mapping[str, Mapping[int, float]]) -> Cost:
    known: dict[str, Any] = {name: history[images] for name, history in costs.items() if images in history}
    rest = {name: value for name, value in whole.as_dict().items() if name not in GROWING_COSTS}
    return Cost(**{**rest, "images": images, **known})
