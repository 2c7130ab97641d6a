"""`optuna.db`: the study of a sweep as a file for Optuna's own tools, such as its dashboard; nobody here reads it."""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Iterable
from itertools import islice
from typing import Any

import optuna
from alembic.util import CommandError
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gensweep.causes import database_problem
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.study import Sample, directions, frozen_trial, frozen_trials
from gensweep.sweep.trial_state import TrialState

_log = logging.getLogger(__name__)

#: Seconds to wait for another process that has the database.
LOCK_TIMEOUT = 10.0

#: Seconds between two looks at the log: each trial takes several small transactions.
INTERVAL = 5.0

#: What SQLAlchemy, Alembic and Optuna raise for a file with damaged content, or of another version of Optuna.
DAMAGE = (SQLAlchemyError, OptunaError, CommandError, AssertionError, LookupError, RuntimeError, ValueError)


class StudyFile:
    """Follows the log of a sweep; a file that is missing, damaged or of another state is written anew."""

    def __init__(self, folder: SweepFolder, sample: Sample) -> None:
        self._folder, self._sample = folder, sample
        self._state = SweepState()
        self._read = 0
        self._study: optuna.Study | None = None

    def catch_up(self, limit: int = 500) -> bool:
        """Write what is new; False if that is nothing.  Raises what SQLite says if the file cannot be used."""
        entries = list(islice(self._folder.log.read(self._read), None if self._study is None else limit))
        if not entries:
            return False
        for entry in entries:
            self._state.apply(entry.event, entry.time)
        self._read = entries[-1].end
        changed = {getattr(entry.event, "trial", None) for entry in entries}
        try:
            if self._study is None:
                self._study = _load(self._folder, self._state)
                changed = set(self._state.trials)
                self._compare_known(self._study)
            self._write(self._study, [trial for trial in self._state.searched if trial.trial in changed])
        except DAMAGE as error:
            if database_problem(error) is not None:
                raise
            _log.info("%s is damaged and written anew: %s", self._folder.optuna, error)
            self._write_anew()
        return True

    def remaining(self) -> int:
        """How many events the file does not have."""
        return sum(1 for _ in self._folder.log.read(self._read))

    def _compare_known(self, study: optuna.Study) -> None:
        """Raises ValueError if the file begins with other trials than the sweep, or has more than it."""
        stored = study.get_trials(deepcopy=False)
        known = list(frozen_trials(self._state, self._sample, []))
        if not stored:
            study.add_trials(known)
        elif len(stored) > len(known) + len(self._state.searched) or any(
            _contents(one) != _contents(other) for one, other in zip(stored, known, strict=False)
        ):
            raise ValueError("it is of another sweep")

    def _write(self, study: optuna.Study, trials: Iterable[TrialState]) -> None:
        """Raises ValueError if what the file has of one of them cannot be brought up to date."""
        stored, begin = study.get_trials(deepcopy=False), len(self._state.known)
        for trial in sorted(trials, key=lambda each: each.number):
            number = begin + trial.number
            wanted = self._frozen(trial, number)
            if number > len(stored):
                raise ValueError("trials are missing")
            if number == len(stored):
                study.add_trial(wanted)
                stored.append(wanted)
            elif _contents(stored[number]) != _contents(wanted):
                _update(study, stored[number], wanted)

    def _write_anew(self) -> None:
        file = self._folder.optuna
        for name in (file.name, f"{file.name}-journal", f"{file.name}-wal", f"{file.name}-shm"):
            file.with_name(name).unlink(missing_ok=True)
        self._study = _load(self._folder, self._state)
        self._study.add_trials(frozen_trials(self._state, self._sample, []))
        begin = len(self._state.known)
        self._study.add_trials(self._frozen(trial, begin + trial.number) for trial in self._state.searched)

    def _frozen(self, trial: TrialState, number: int) -> FrozenTrial:
        """A trial with what the dashboard shows of it besides once it has ended: the run's name, and what it cost."""
        frozen = frozen_trial(trial, number, self._sample)
        if trial.ended and trial.best is not None:
            costs = {f"cost/{key}": value for key, value in trial.cost.as_dict().items()}
            frozen.user_attrs = {"run": f"{self._folder.name}/{trial.trial}", **costs}
        return frozen


def _load(folder: SweepFolder, state: SweepState) -> optuna.Study:
    # A connection by path and not by URL, in which '?' and '%' of a folder's name would mean something else.
    def connect() -> sqlite3.Connection:
        opened = sqlite3.connect(folder.optuna, timeout=LOCK_TIMEOUT, check_same_thread=False)
        # A power cut may damage the file, which is then written anew; to wait for the disk takes a quarter of the time.
        opened.execute("PRAGMA synchronous=OFF")
        return opened

    study = optuna.create_study(
        storage=optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool}),
        study_name=folder.name,
        directions=directions(state),
        load_if_exists=True,
    )
    names = [each.metric for each in state.objectives]
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)
    return study


def _update(study: optuna.Study, stored: FrozenTrial, wanted: FrozenTrial) -> None:
    """Bring a trial up to date that had not ended.  Raises ValueError for one that had, or is another."""
    if stored.state.is_finished() or (stored.params, stored.distributions) != (wanted.params, wanted.distributions):
        raise ValueError(f"trial {stored.number} is another")
    told = optuna.Trial(study, stored._trial_id)
    for name, attribute in wanted.user_attrs.items():
        if stored.user_attrs.get(name) != attribute:
            told.set_user_attr(name, attribute)
    for images, score in wanted.intermediate_values.items():
        if images not in stored.intermediate_values:
            told.report(score, images)
    for metric, excess in wanted.constraints.items():
        told.set_constraint(metric, excess)
    if wanted.state.is_finished():
        values = wanted.values if wanted.state == optuna.trial.TrialState.COMPLETE else None
        study.tell(stored.number, values, wanted.state)


def _contents(trial: FrozenTrial) -> tuple[Any, ...]:
    """All that a view of the log must have right."""
    return (
        trial.number,
        trial.state,
        trial.params,
        trial.distributions,
        trial.intermediate_values,
        trial.values,
        trial.constraints,
        trial.user_attrs,
    )
