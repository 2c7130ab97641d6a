"""Optuna's study of a sweep: a view of its state, made anew wherever the two do not agree."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import NullPool

from gensweep.errors import ConfigError
from gensweep.sweep import state as sweeps

__all__ = ["make_sampler", "memory_study", "open_study", "report_rung", "tell"]

_log = logging.getLogger(__name__)

#: What suits nested spaces and parallel trials.
TPE = {"multivariate": True, "group": True, "constant_liar": True}
#: Seconds to wait for another process that has the database.
LOCK_TIMEOUT = 60.0


def open_study(
    file: Path,
    state: sweeps.SweepState,
    sampler: optuna.samplers.BaseSampler,
    sample: Callable[[Any], Mapping[str, Any]],
) -> optuna.Study:
    """The study in a file, which holds exactly the trials of the state.

    `sample` asks an Optuna trial for the parameters of the space.  A file that is missing, damaged or of another state
    is written anew.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    expected = [_frozen(trial, sample) for trial in state.trials.values()]
    if file.exists():
        try:
            study = _study(file, state, sampler)
            if _agree(study.get_trials(deepcopy=False), expected):
                return study
        except Exception as error:  # whatever SQLite, its driver or Optuna make of a damaged file
            _log.info("%s is written anew: %s", file, error)
        _remove(file)
    study = _study(file, state, sampler)
    study.add_trials(expected)
    return study


def memory_study(state: sweeps.SweepState, sample: Callable[[Any], Mapping[str, Any]]) -> optuna.Study:
    """The study of a state, to look at; `sample` as in `open_study`."""
    study = optuna.create_study(direction=_direction(state))
    study.add_trials([_frozen(trial, sample) for trial in state.trials.values()])
    return study


def tell(study: optuna.Study, trial: sweeps.TrialState) -> None:
    """Tell the study how a trial ended; one that can go on stays as it is."""
    if not trial.ended:
        return
    state = _STATES[trial.status]
    if trial.status == "finished" and trial.objective is not None:
        study.tell(trial.number, trial.objective.value, skip_if_finished=True)
    else:  # Optuna takes the last intermediate value of a pruned trial, which is its best
        study.tell(trial.number, state=state if trial.rungs else TrialState.FAIL, skip_if_finished=True)


def report_rung(study: optuna.Study, trial: sweeps.TrialState) -> None:
    """Tell the study the best score so far of a running trial."""
    if trial.rungs:
        images, value = trial.rungs[-1]
        frozen = study.get_trials(deepcopy=False)[trial.number]
        optuna.trial.Trial(study, frozen._trial_id).report(value, images)


def make_sampler(kind: str, seed: int, trials_so_far: int, settings: Mapping[str, Any]) -> optuna.samplers.BaseSampler:
    """TPE for nested, parallel spaces, random draws, or a grid: every combination once, of ranges with steps.

    A session that goes on must not repeat the random draws of the one before, so the seed depends on how many trials
    there are.  Source of the flags: Optuna's documentation of TPESampler on conditional and distributed search.
    """
    seed = (seed * 1_000_003 + trials_so_far) % 2**32
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if kind == "grid":
            return Grid(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, **{**TPE, **settings})


class Grid(optuna.samplers.BruteForceSampler):
    """Every combination of a finite, possibly nested space once, in random order."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Leave the study running: the original stops one that Optuna runs itself, which this is not."""
        optuna.samplers.BaseSampler.after_trial(self, study, trial, state, values)


_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "waiting": TrialState.RUNNING,
    "running": TrialState.RUNNING,
    "stopped": TrialState.RUNNING,
}


def _storage(file: Path) -> optuna.storages.RDBStorage:
    # A connection by path and not by URL, in which '?' and '%' of a folder's name would mean something else.
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, timeout=LOCK_TIMEOUT, check_same_thread=False)

    return optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool})


def _study(file: Path, state: sweeps.SweepState, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    return optuna.create_study(
        storage=_storage(file),
        study_name="" if state.created is None else state.created.name,
        sampler=sampler,
        direction=_direction(state),
        load_if_exists=True,
    )


def _direction(state: sweeps.SweepState) -> Literal["minimize", "maximize"]:
    return "minimize" if state.mode == "min" else "maximize"


def _remove(file: Path) -> None:
    for name in (file.name, f"{file.name}-journal", f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)


def _frozen(trial: sweeps.TrialState, sample: Callable[[Any], Mapping[str, Any]]) -> FrozenTrial:
    state = _STATES[trial.status]
    if state == TrialState.PRUNED and not trial.rungs:
        state = TrialState.FAIL
    value = {
        TrialState.COMPLETE: None if trial.objective is None else trial.objective.value,
        TrialState.PRUNED: trial.rungs[-1][1] if trial.rungs else None,
    }.get(state)
    replayed = _Replayed(trial)
    with contextlib.suppress(ConfigError, KeyError):  # a trial whose parameters were not valid stopped half-way, too
        sample(replayed)
    params = {name: trial.suggested[name] for name in replayed.distributions}
    frozen = optuna.trial.create_trial(
        state=state,
        value=value,
        params=params,
        distributions=replayed.distributions,
        intermediate_values=dict(trial.rungs),
    )
    frozen.number = trial.number
    return frozen


class _Replayed:
    """Answers like an Optuna trial with what was suggested then, and notes from which distributions."""

    def __init__(self, trial: sweeps.TrialState) -> None:
        self.number = trial.number
        self._suggested = trial.suggested
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._noted(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._noted(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._noted(name, CategoricalDistribution(choices))

    def _noted(self, name: str, distribution: BaseDistribution) -> Any:
        value = self._suggested[name]
        self.distributions[name] = distribution
        return value


def _agree(found: Sequence[FrozenTrial], expected: Sequence[FrozenTrial]) -> bool:
    return len(found) == len(expected) and all(
        (a.number, a.state, a.params, a.distributions, a.intermediate_values, a.values)
        == (b.number, b.state, b.params, b.distributions, b.intermediate_values, b.values)
        for a, b in zip(found, expected, strict=True)
    )
