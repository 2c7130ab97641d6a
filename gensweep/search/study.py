"""The trials of a sweep as Optuna's trials, made from the state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import optuna
from optuna.trial import FixedTrial, FrozenTrial
from optuna.trial import TrialState as OptunaState

from gensweep.errors import GensweepError
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

Sample: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""Samples the parameters of the space from an Optuna trial."""

Outcome: TypeAlias = tuple[OptunaState, list[float] | None]
"""The state and the values of a trial in Optuna's terms."""


def directions(state: SweepState) -> list[Literal["minimize", "maximize"]]:
    """Optuna's direction of each objective."""
    return ["minimize" if each.mode == "min" else "maximize" for each in state.objectives]


def outcome(trial: TrialState) -> Outcome:
    """The state and the values of a trial.

    A clone has no values: its scores are not those of the suggested settings.
    """
    match trial.status:
        case "finished" | "pruned" if trial.lineage:
            return OptunaState.PRUNED, None
        case "finished" if None not in trial.values.values():
            return OptunaState.COMPLETE, [value for value in trial.values.values() if value is not None]
        case "pruned" if trial.rungs:
            return OptunaState.PRUNED, [trial.rungs[-1][1]]
        case "infeasible":  # which samplers that know of limits learn from
            return OptunaState.PRUNED, None
        case "finished" | "pruned" | "failed":
            return OptunaState.FAIL, None
    return OptunaState.RUNNING, None


def for_sampler(trial: TrialState) -> Outcome:
    """The same for samplers: a stopped or paused trial counts as complete, with its best score.

    Otherwise TPE ranks every stopped trial behind every finished one, and other samplers ignore them.
    """
    state, values = outcome(trial)
    if trial.lineage and not trial.ended:  # its suggested settings are no longer in use
        return OptunaState.PRUNED, None
    waited = state == OptunaState.RUNNING and trial.has_waited and bool(trial.rungs)
    if waited or (state == OptunaState.PRUNED and values):
        return OptunaState.COMPLETE, [trial.rungs[-1][1]]
    return state, values


def frozen_trial(
    trial: TrialState, number: int, sample: Sample, ended: Outcome, attributes: Mapping[str, Any] | None = None
) -> FrozenTrial:
    """A trial as Optuna's FrozenTrial; `attributes` are shown with it in Optuna's dashboard."""
    replayed = FixedTrial(dict(trial.suggested), number)
    with contextlib.suppress(GensweepError, ValueError):  # an invalid trial stopped half-way, too
        sample(replayed)
    frozen = optuna.trial.create_trial(
        params=replayed.params,
        distributions=replayed.distributions,
        # Optuna takes one score a step.
        intermediate_values=trial.curve if len(trial.objectives) == 1 and not trial.lineage else {},
        state=ended[0],
        values=ended[1],
        system_attrs=dict(trial.sampler_state),
        user_attrs=dict(attributes or {}),
        constraints={} if ended[0] == OptunaState.RUNNING else trial.excesses,
    )
    frozen.number = number
    return frozen
