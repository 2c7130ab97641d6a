"""A driver's session on a sweep: what Tune tells goes into the log, what Tune is to run comes out of the state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import optuna

from gensweep.config.sweep_config import AshaSettings, Repeats
from gensweep.errors import ConfigError
from gensweep.sweep import events
from gensweep.sweep.checkpoints import check_visible, delete, is_url
from gensweep.sweep.early_stopping import asha_stops
from gensweep.sweep.folder import PICTURES, SweepFolder
from gensweep.sweep.search_budget import pays_for_another
from gensweep.sweep.state import SweepState, TrialState
from gensweep.sweep.study import available, open_study, tell
from gensweep.sweep.sweep_plan import SweepPlan

_log = logging.getLogger(__name__)

Observer: TypeAlias = Callable[[events.Event, SweepState], None]
"""Hears each event after it was noted, with the state that follows; it should return at once, and may fail."""


class Session:
    """See the module.  All methods run in the driver's main thread, which holds the sweep's lock."""

    def __init__(
        self,
        plan: SweepPlan,
        folder: SweepFolder,
        observers: Sequence[Observer],
        *,
        concurrent: int,
        more_trials: int = 0,
    ) -> None:
        self._plan, self._folder, self._observers = plan, folder, observers
        self.state = SweepState.of(folder.log.read())
        self.interrupted = False
        self.problem: Exception | None = None
        """What went wrong where Tune would take it for a failure of one trial."""
        if self.state.created is None:
            metric, mode = plan.objective.metric, plan.objective.mode
            budget, search = plan.budget if plan.equal else None, plan.search.budget
            limits = (plan.unit, budget) if search is None else (plan.unit, budget, search.unit, search.amount)
            trials = plan.search.most_trials
            self.note(events.Created(uuid4().hex, plan.name, metric, mode, trials, plan.keep_best, *limits))
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
        """What is to run next: an interrupted trial first, then a new one; None if there is none, or none as yet."""
        while self._resumable or len(self.state.searched) < self.state.wanted:
            if not self._resumable and not pays_for_another(self.state):
                if not self.state.unfinished:
                    self.note(events.Exhausted(len(self.state.searched)))
                return None
            trial = self._resumable.pop(0) if self._resumable else self._suggest()
            if not trial.ended:
                return trial
        return None

    @property
    def waits(self) -> bool:
        """Whether there may be a trial to run once others have ended, and it is known what they cost."""
        return len(self.state.searched) < self.state.wanted

    def repeat(self, repeats: Repeats) -> None:
        """Ask for the best configurations to be trained again with other seeds, unless they were asked for before."""
        for best in self.state.ranking[: repeats.top]:
            for number in range(1, repeats.seeds + 1):
                name = f"{best.trial}-s{number}"
                if name not in self.state.trials:
                    config = {**best.config, "seed": best.config.get("seed", 0) + number}
                    self.note(
                        events.Suggested(name, best.number, best.suggested, best.params, config, repeat_of=best.trial)
                    )
                    self._resumable.append(self.state.trials[name])

    def reported(self, event: events.Paced | events.Progressed | events.Evaluated) -> bool:
        """Workers reported; what a restart does again is left out.  Returns whether the trial is to stop."""
        trial = self.state.trials[event.trial]
        if isinstance(event, events.Paced):
            self.note(event)
            return False
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
            elif not (result.get("finished") or self._is_at_its_end(trial) or self._is_stale(trial)):
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

    def _is_at_its_end(self, trial: TrialState) -> bool:
        return trial.images >= (trial.length or self._plan.budget)

    def _is_stale(self, trial: TrialState) -> bool:
        """Whether its best score has stood for the sweep's patience."""
        patience = self._plan.search.patience
        return patience is not None and trial.evaluations_at_best > patience

    def _is_hopeless(self, trial: TrialState) -> bool:
        """Whether a trial that has just been scored is to stop."""
        scheduler = self._plan.search.scheduler
        if trial.repeat_of is not None:
            return False
        return self._is_stale(trial) or (
            isinstance(scheduler, AshaSettings)
            and asha_stops(trial, self.state, self._plan.budget, self._plan.grace, scheduler.reduction)
        )

    def _note_change(self, trial: TrialState, event: events.Evaluated | events.Ended) -> None:
        """Note a score or an end, tell Optuna, and delete the checkpoints that are of no more use."""
        before = trial.useful_checkpoints
        self.note(event)
        if trial.repeat_of is None:
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
