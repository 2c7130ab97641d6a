"""`optuna.db`: the ended trials of a sweep as an Optuna study, for the Optuna dashboard.  gensweep never reads it."""

from __future__ import annotations

import logging
import sqlite3
import warnings

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy.pool import NullPool

from gensweep.causes import database_problem
from gensweep.search.space import Sample, directions, frozen_trial, outcome
from gensweep.sweep.events import Ended
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

_log = logging.getLogger(__name__)

#: Seconds to wait for another process that has locked the database.
LOCK_TIMEOUT = 10.0
#: Seconds between two checks of the log, because a trial needs several transactions.
INTERVAL = 5.0


class StudyFile:
    """Adds each ended trial to the file; adds a retried trial again.  Rewrites a damaged file."""

    def __init__(self, folder: SweepFolder, sample: Sample) -> None:
        self._folder, self._sample = folder, sample
        self._state = SweepState(folder)
        self._read = 0
        self._study: optuna.Study | None = None

    def catch_up(self) -> bool:
        """Write the newly ended trials; False if the log has no new record.  Raises if the file is locked."""
        ended, begin = list[FrozenTrial](), self._read
        for entry in self._folder.log.read(self._read):
            self._read = entry.end
            self._state.apply(entry.event, entry.time)
            trial = self._state.trials.get(entry.event.trial) if isinstance(entry.event, Ended) else None
            if trial is not None and trial.ended and trial.repeat_of is None:
                ended.append(self._frozen(trial))
        if self._read == begin:
            return False
        if self._study is None:
            self._study, stored = self._open()
            ended = ended[stored:]
        self._study.add_trials(ended)
        return True

    def _open(self) -> tuple[optuna.Study, int]:
        """The study and its number of trials, which were added in the order of the log."""
        try:
            study = self._load()
            return study, len(study.get_trials(deepcopy=False))
        except Exception as error:  # SQLAlchemy, Alembic and Optuna raise any exception for a damaged file
            if database_problem(error) is not None:
                raise
            _log.info("%s is damaged and is rewritten: %s", self._folder.optuna, error)
            for suffix in ("", "-journal", "-wal", "-shm"):
                self._folder.optuna.with_name(f"{self._folder.optuna.name}{suffix}").unlink(missing_ok=True)
            return self._load(), 0

    def _load(self) -> optuna.Study:
        # Connect by path: in a URL, '?' and '%' have another meaning.
        def connect() -> sqlite3.Connection:
            opened = sqlite3.connect(self._folder.optuna, timeout=LOCK_TIMEOUT, check_same_thread=False)
            try:
                opened.execute("PRAGMA synchronous=OFF")  # a file damaged by a power cut is rewritten
            except sqlite3.Error:
                opened.close()
                raise
            return opened

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool}),
            study_name=self._folder.name,
            directions=directions(self._state),
            load_if_exists=True,
        )
        if study.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([each.metric for each in self._state.objectives])
        return study

    def _frozen(self, trial: TrialState) -> FrozenTrial:
        """An ended trial, with its run's name and costs for the dashboard."""
        costs = {f"cost/{key}": value for key, value in trial.cost.as_dict().items()}
        frozen = frozen_trial(trial, trial.number, self._sample, outcome(trial))
        frozen.user_attrs = {"run": f"{self._folder.name}/{trial.trial}", **costs}
        return frozen
