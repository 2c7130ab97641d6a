"""A driver's session on a sweep: what Tune tells goes into the log, what Tune is to run comes out of the state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import optuna

from gensweep.config.sweep_config import AshaSettings
from gensweep.errors import ConfigError
from gensweep.sweep import events
from gensweep.sweep.checkpoints import check_visible, delete, is_url
from gensweep.sweep.early_stopping import asha_stops
from gensweep.sweep.folder import PICTURES, SweepFolder
from gensweep.sweep.plan import Plan
from gensweep.sweep.state import SweepState, TrialState
from gensweep.sweep.study import available, open_study, tell

_log = logging.getLogger(__name__)

Observer: TypeAlias = Callable[[events.Event, SweepState], None]
"""Hears each event after it was noted, with the state that follows; it should return at once, and may fail."""


class Session:
    """See the module.  All methods run in the driver's main thread, which holds the sweep's lock."""

    def __init__(
        self, plan: Plan, folder: SweepFolder, observers: Sequence[Observer], *, concurrent: int, more_trials: int = 0
    ) -> None:
        self._plan, self._folder, self._observers = plan, folder, observers
        self.state = SweepState.of(folder.log.read())
        self.interrupted = False
        self.problem: Exception | None = None
        """What went wrong where Tune would take it for a failure of one trial."""
        if self.state.created is None:
            metric, mode = plan.objective.metric, plan.objective.mode
            self.note(events.Created(uuid4().hex, plan.name, metric, mode, plan.search.trials, plan.keep_best))
        if more_trials:
            self.note(events.Extended(self.state.wanted + more_trials))
        self._close_lost_session()
        self._resumable = list(self.state.unfinished)
        self.study: optuna.Study = open_study(folder.optuna, self.state, plan.search, plan.sample)
        self.note(events.SessionStarted(concurrent, plan.store, plan.tags))

    def note(self, event: events.Event) -> None:
        """Add an event to the log, and tell the observers."""
        entry = self._folder.log.append(event)
        self.state.apply(event, entry.time)
        for observer in self._observers:
            try:
                observer(event, self.state)
            except Exception:  # training goes on, whatever happens to a display
                _log.exception("observer %s failed", type(observer).__name__)

    def next_trial(self) -> TrialState | None:
        """What is to run next: an interrupted trial first, then a new one; None if there is none left."""
        while self._resumable or len(self.state.trials) < self.state.wanted:
            trial = self._resumable.pop(0) if self._resumable else self._suggest()
            if not trial.ended:
                return trial
        return None

    def reported(self, event: events.Progressed | events.Evaluated) -> bool:
        """Workers reported; what a restart does again is left out.  Returns whether the trial is to stop."""
        trial = self.state.trials[event.trial]
        if isinstance(event, events.Progressed):
            if event.images > trial.images:
                self.note(event)
            return False
        if event.evaluation.images in trial.evaluations:
            return False
        if event.uri is not None:
            check_visible(event.uri)
            self._keep_pictures(event)
        self._note_change(trial, event)
        return self._plan.objective.metric in event.evaluation.scores and self._is_hopeless(trial)

    def ended(self, name: str, result: Mapping[str, Any], error: str | None = None, details: str = "") -> None:
        """A trial came to its end; how, follows from its last result and the error of its actor, if any."""
        trial = self.state.trials[name]
        if trial.status != "running":
            return
        error = error or result.get("failure")
        try:
            if error is not None:
                log = self._folder.write_log(name, f"{error}\n\n{details or result.get('details', '')}")
                self._note_change(trial, events.Ended(name, "failed", f"{error}; log: {log}", str(log)))
            elif not (result.get("finished") or trial.images >= self._plan.budget or self._is_stale(trial)):
                self._note_change(trial, events.Ended(name, "stopped" if self.interrupted else "pruned"))
            elif trial.objective is None:
                error = f"it ended without reporting {self._plan.objective.metric}"
                self._note_change(trial, events.Ended(name, "failed", error))
            else:
                self._note_change(trial, events.Ended(name, "finished"))
        except Exception as problem:
            self.problem = problem
            raise

    # -- inside ----------------------------------------------------------------------------------------------------

    def _suggest(self) -> TrialState:
        params: Mapping[str, Any] = {}
        config: Mapping[str, Any] = {}
        error = None
        with available(self._folder.optuna):
            asked = self.study.ask()
            try:
                params = self._plan.sample(asked)
                config = self._plan.configure(params)
            except ConfigError as problem:
                error = str(problem)
        name = f"t{asked.number:04d}"
        self.note(events.Suggested(name, asked.number, asked.params, params, config))
        trial = self.state.trials[name]
        if error is not None:
            self._note_change(trial, events.Ended(name, "failed", error))
        return trial

    def _is_stale(self, trial: TrialState) -> bool:
        """Whether its best score has stood for the sweep's patience."""
        patience = self._plan.search.patience
        return patience is not None and trial.evaluations_at_best > patience

    def _is_hopeless(self, trial: TrialState) -> bool:
        """Whether a trial that has just been scored is to stop."""
        scheduler = self._plan.search.scheduler
        return self._is_stale(trial) or (
            isinstance(scheduler, AshaSettings)
            and asha_stops(trial, self.state, self._plan.budget, self._plan.grace, scheduler.reduction)
        )

    def _note_change(self, trial: TrialState, event: events.Evaluated | events.Ended) -> None:
        """Note a score or an end, tell Optuna, and delete the checkpoints that are of no more use."""
        before = trial.useful_checkpoints
        self.note(event)
        with available(self._folder.optuna):
            tell(self.study, trial)
        self._delete(trial, before - trial.useful_checkpoints)

    def _close_lost_session(self) -> None:
        if self.state.status == "running":
            self.note(events.SessionEnded("interrupted", "its driver was lost"))
        # A crash may have come between the end of a checkpoint's use and its deletion.
        for trial in self.state.trials.values():
            local = {uri for uri in trial.stored_checkpoints if not is_url(uri)}
            self._delete(trial, local - trial.useful_checkpoints)

    def _keep_pictures(self, event: events.Evaluated) -> None:
        checkpoint = self._folder.local(event.trial, event.uri)
        for key in PICTURES if checkpoint is not None else ():
            self._folder.keep_picture(event.trial, event.evaluation.images, key, Path(checkpoint or "") / f"{key}.png")

    def _delete(self, trial: TrialState, uris: set[str]) -> None:
        for uri in uris:
            delete(uri, self._folder.fetched(trial.trial))
