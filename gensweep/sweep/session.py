"""A driver's session on a sweep: what Tune tells goes into the log, what Tune is to run comes out of the state."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import optuna

from gensweep.errors import ConfigError, GensweepError
from gensweep.results import Evaluation
from gensweep.sweep.events import (
    Created,
    Ended,
    Evaluated,
    Event,
    Extended,
    Progressed,
    SessionEnded,
    SessionStarted,
    Started,
    Suggested,
    SweepStatus,
    TrialStatus,
    finite,
)
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.plan import Plan
from gensweep.sweep.state import SweepState, TrialState
from gensweep.sweep.storage import delete, is_url
from gensweep.sweep.study import make_sampler, open_study, report_rung, tell

__all__ = ["PICTURES", "Observer", "Session"]

_log = logging.getLogger(__name__)

Observer: TypeAlias = Callable[[Event, SweepState], None]
"""Hears each event after it was noted, with the state that follows; it should return at once, and may fail."""

#: Pictures that a checkpoint may hold, which are kept when it goes.
PICTURES = ("samples", "schedule", "suspects")


class Session:
    """See the module.  All methods run in the driver's main thread, which holds the sweep's lock."""

    def __init__(self, plan: Plan, folder: SweepFolder, observers: Sequence[Observer], *, more_trials: int = 0) -> None:
        self._plan = plan
        self._folder = folder
        self._observers = list(observers)
        self._trial_of: dict[str, str] = {}
        self.state = SweepState.of(folder.log.read())
        self.interrupted = False
        if self.state.created is None:
            created = Created(
                uuid4().hex, plan.name, plan.metric, plan.mode, plan.trials, plan.keep_best, plan.patience
            )
            self._note(created)
        if more_trials:
            self._note(Extended(self.state.wanted + more_trials))
        self._close_lost_session()
        self._resumable = list(self.state.unfinished)
        sampler = make_sampler(plan.sampler, plan.seed, len(self.state.trials), plan.sampler_settings)
        self.study: optuna.Study = open_study(folder.optuna, self.state, sampler, plan.sample)

    def open(self, concurrent: int) -> None:
        """Begin."""
        self._note(SessionStarted(concurrent, self._plan.store, self._plan.tags))

    def close(self, status: SweepStatus, error: str | None = None) -> None:
        """End; whatever still runs can go on in a later session."""
        self._note(SessionEnded(status, error))

    # -- trials ----------------------------------------------------------------------------------------------------

    def next_trial(self, tune_id: str) -> dict[str, Any] | None:
        """What Tune is to run next: an interrupted trial first, then a new one; None if there is none left."""
        while self._resumable or len(self.state.trials) < self.state.wanted:
            trial = self._resumable.pop(0) if self._resumable else self._suggest()
            if not trial.ended:
                self._trial_of[tune_id] = trial.trial
                return {"trial": trial.trial, "config": trial.config, "checkpoints": trial.checkpoints}
        return None

    def started(self, tune_id: str) -> None:
        """A trial starts, or starts again after it was lost."""
        self._note(Started(self._trial_of[tune_id]))

    def reported(self, tune_id: str, report: Evaluation | Mapping[str, float], images: int, uri: str | None) -> None:
        """Workers reported numbers, or an evaluation with its checkpoint; what a restart does again is left out."""
        trial = self._trial(tune_id)
        if uri is None or not isinstance(report, Evaluation):
            if images > trial.images and not isinstance(report, Evaluation):
                self._note(Progressed(trial.trial, images, finite(report)))
            return
        if images in trial.evaluations:
            return
        _check_visible(uri)
        before = trial.wanted
        self._keep_pictures(trial.trial, images, uri)
        self._note(Evaluated(trial.trial, report, uri))
        report_rung(self.study, trial)
        self._delete(trial, before - trial.wanted)

    def objective(self, tune_id: str, report: Evaluation) -> float | None:
        """What a trial's best score is once a report has come in."""
        score = self._trial(tune_id).objective_with(report)
        return None if score is None or self._plan.metric not in report.scores else score.value

    def out_of_patience(self, tune_id: str, report: Evaluation) -> bool:
        """Whether a trial's best score has stood for the sweep's patience, after this evaluation."""
        value = self.objective(tune_id, report)
        patience = self._plan.patience
        return (
            patience is not None
            and value is not None
            and self._trial(tune_id).standing(report.images, value) > patience
        )

    def ended(self, tune_id: str, result: Mapping[str, Any], error: str | None = None, details: str = "") -> None:
        """A trial came to its end; how, follows from its last result and the error of its actor, if any."""
        trial = self._trial(tune_id)
        if trial.status != "running":
            return
        error = error or result.get("failure")
        if error is not None:
            log = self._folder.write_log(trial.trial, f"{error}\n\n{details or result.get('details', '')}")
            self._end(trial, "failed", f"{error}; log: {log}", log)
        elif not (result.get("finished") or trial.images >= self._plan.budget or self._stale(trial)):
            self._end(trial, "stopped" if self.interrupted else "pruned")
        elif trial.objective is None:
            self._end(trial, "failed", f"it ended without reporting {self._plan.metric}")
        else:
            self._end(trial, "finished")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _suggest(self) -> TrialState:
        asked = self.study.ask()
        name = f"t{asked.number:04d}"
        params: Mapping[str, Any] = {}
        config: Mapping[str, Any] = {}
        error = None
        try:
            params = self._plan.sample(asked)
            config = self._plan.configure(params)
        except ConfigError as problem:
            error = str(problem)
        self._note(Suggested(name, asked.number, asked.params, params, config))
        trial = self.state.trials[name]
        if error is not None:
            self._end(trial, "failed", error)
        return trial

    def _end(self, trial: TrialState, status: TrialStatus, error: str | None = None, log: Path | None = None) -> None:
        before = trial.wanted
        self._note(Ended(trial.trial, status, error, None if log is None else str(log)))
        tell(self.study, trial)
        self._delete(trial, before - trial.wanted)

    def _stale(self, trial: TrialState) -> bool:
        patience = self._plan.patience
        return patience is not None and bool(trial.rungs) and trial.standing(*trial.rungs[-1]) > patience

    def _trial(self, tune_id: str) -> TrialState:
        return self.state.trials[self._trial_of[tune_id]]

    def _note(self, event: Event) -> None:
        entry = self._folder.log.append(event)
        self.state.apply(event, entry.time)
        for observer in self._observers:
            try:
                observer(event, self.state)
            except Exception:  # training goes on, whatever happens to a display
                _log.exception("observer %s failed", type(observer).__name__)

    def _close_lost_session(self) -> None:
        if self.state.status == "running":
            self._note(SessionEnded("interrupted", "its driver was lost"))
        # A crash may have come between the end of a checkpoint's use and its deletion.
        for trial in self.state.trials.values():
            left = {each.uri for each in trial.evaluations.values() if each.uri is not None} - trial.wanted
            self._delete(trial, {uri for uri in left if not is_url(uri) and Path(uri).exists()})

    def _keep_pictures(self, trial: str, images: int, uri: str) -> None:
        checkpoint = self._folder.local(trial, uri)
        for key in PICTURES if checkpoint is not None else ():
            source = Path(checkpoint or "") / f"{key}.png"
            if source.is_file():
                target = self._folder.picture(trial, images, key)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def _delete(self, trial: TrialState, uris: set[str]) -> None:
        for uri in uris:
            delete(uri)
            if is_url(uri):
                shutil.rmtree(self._folder.fetched(trial.trial, uri), ignore_errors=True)


def _check_visible(uri: str) -> None:
    if not is_url(uri) and not Path(uri).is_dir():
        raise GensweepError(
            f"a worker on another machine wrote {uri}, which this machine does not see; give all machines the same "
            "storage: --storage with a shared folder or a URL such as s3://bucket/sweeps"
        )
