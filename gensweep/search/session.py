"""A driver's session on a sweep: reports become events in the log, and the state determines the next trial."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

import optuna

from gensweep.config.search_methods import AshaSettings, MedianStopping
from gensweep.config.sweep_config import Repeats
from gensweep.errors import ConfigError, GensweepError
from gensweep.results import Evaluation
from gensweep.search.asha import Asha
from gensweep.search.expected_gain import expected_gain
from gensweep.search.reruns import Retry, due_repeats
from gensweep.search.samplers import known_study, make_sampler
from gensweep.search.schedulers import Decision, Median, Scheduler, Startable, too_many_failures
from gensweep.search.sweep_plan import InitialCheckpoint, SweepPlan
from gensweep.sweep import events
from gensweep.sweep.checkpoints import check_visible, checkpoint_place
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.log import LogEntry
from gensweep.sweep.state import SweepState
from gensweep.sweep.storage import HeldStorage
from gensweep.sweep.trial_state import TrialState

FIRST_TRIAL = "t0000"

_log = logging.getLogger(__name__)

Observer: TypeAlias = Callable[[events.Event, SweepState], None]
"""Called after each event, with the new state; must return at once, and may fail."""


class Session:
    """Runs in the driver's main thread, which holds the sweep's lock."""

    def __init__(
        self,
        plan: SweepPlan,
        folder: SweepFolder,
        observers: Sequence[Observer],
        *,
        concurrent: int,
        more_trials: int = 0,
        repeats: Repeats | None = None,
        retry: Retry | None = None,
        storage: HeldStorage | None = None,
        deadline: float | None = None,
    ) -> None:
        self._plan, self._folder, self._observers = plan, folder, list(observers)
        self._sync = None if storage is None else storage.sync
        self._scheduler = _scheduler(plan)
        self._held = set[str]()
        """Trials that have workers, including just paused ones."""
        self._startable: Startable | None = None
        self.interrupted = False
        """True if trials that end now are stopped, not pruned."""
        self._time_is_up_at = math.inf
        self.problem: Exception | None = None
        """An error of the whole sweep; raised in Tune it would fail only one trial."""
        if self._sync is not None:
            self._observers.append(self._sync)
            self._sync.on_loss(lambda problem: setattr(self, "problem", problem))
        entries = list(folder.log.read())
        self.state = SweepState.of(entries)
        if self.state.created is None:
            start, sweep_id = None, uuid4().hex if storage is None else storage.sweep_id
            # From sweep.json, as a driver may have died after writing it.
            if storage is not None and (asked := folder.settings.get("start")) is not None:
                start = InitialCheckpoint(**asked).stored(storage.root, FIRST_TRIAL)
            self.note(plan.created(sweep_id, start))
        for known in plan.warm_starts[len(self.state.sources) :]:  # a driver may have died between two of them
            self.note(known)
        if more_trials:
            self.note(events.Extended(self.state.wanted + more_trials))
        if repeats is not None:
            self.note(events.RepeatsAsked(repeats.top, repeats.seeds))
        if self.state.status == "running":
            self.note(events.SessionEnded("interrupted", "its driver was lost"))
        if retry is not None:
            for name, config in retry.configs(self.state).items():
                self.note(events.Retried(name, config))
        self.sampler = make_sampler(plan.search, len(self.state.searched), plan.nodes)
        match entries[-1:]:
            case [LogEntry(events.Evaluated(trial=name))] if name in self.state.trials:  # the driver was lost here
                self._decide(self.state.trials[name])
        ends = None if deadline is None else round(1000 * deadline)
        self.note(events.SessionStarted(concurrent, plan.tags, plan.resources.worker_counts[0], ends))
        if self.state.created is not None and self.state.created.start is not None:
            self._take_over(self.state.created.start)
        self._follow_up()

    def note(self, event: events.Event) -> None:
        """Append an event to the log, call the observers, and delete checkpoints that the trial no longer needs."""
        event = events.without_secrets(event)
        trial = self.state.trials.get(getattr(event, "trial", ""))
        before = set[str]() if trial is None else trial.useful_checkpoints
        entry = self._folder.log.append(event)
        self._startable = None
        self.state.apply(event, entry.time)
        self._time_is_up_at = entry.time / 1000 + self.state.seconds_left
        for observer in self._observers:
            try:
                observer(event, self.state)
            except Exception:  # a broken display must not stop the training
                _log.exception("observer %s failed", type(observer).__name__)
        if trial is not None and (unused := before - trial.useful_checkpoints):
            self._delete(unused)

    def next_trial(self) -> TrialState | None:
        """The trial to run next: interrupted trials and repeats, then the scheduler's choice; None if none is ready."""
        state = self.state
        while not self.stop_reason:
            match self._next:
                case TrialState() as trial:
                    pass
                case "sample" if (gain := self._too_little_gain) is not None:
                    self.end_search(gain)
                    self._follow_up()
                    continue
                case "sample":
                    trial = self._suggest()
                case "stop" if state.wanted > len(state.searched) and not too_many_failures(state):
                    self.end_search()
                    self._follow_up()
                    continue
                case _:
                    return None
            if not trial.ended:
                self._held.add(trial.trial)  # Tune asks for the next one before its workers start
                if trial.status != "waiting":
                    self.note(events.Resumed(trial.trial))
                return trial
        return None

    @property
    def waits(self) -> bool:
        """True if another trial may become runnable later."""
        return self._next == "wait" or bool(self._held)

    def end_search(self, expected_gain: float | None = None) -> None:
        """Sample no further trials: the search budget or the time is used up, or they are expected to gain little."""
        self.note(events.Exhausted(self.state.wanted_once_exhausted, expected_gain))

    @property
    def time_is_up(self) -> bool:
        """True from shortly before the deadline: running trials must save and stop."""
        return time.time() >= self._time_is_up_at

    @property
    def stop_reason(self) -> str | None:
        """Why the sweep stops by itself, or None."""
        state, most = self.state, self._plan.resources.stop_after_failed
        wants_more = len(state.searched) < state.wanted or state.best is None
        if wants_more and too_many_failures(state) and self._next == "stop":
            count = max(state.failures_in_a_row, state.infeasible_in_a_row)
            what, limits = ("failed or break a limit", " or other constraints") if state.constraints else ("failed", "")
            advice = f"fix that, or start a sweep with another space{limits}"
            return f"{count} consecutive trials {what} ({_last_failure(state)}); {advice}"
        errors = state.infrastructure_errors_in_a_row
        if most and errors >= most and state.left:
            what = "consecutive trials failed because of infrastructure errors"
            return f"{errors} {what} ({_last_failure(state)}); fix that, then resume"
        return None

    @property
    def pending(self) -> int:
        """Number of trials that could start now with enough workers."""
        return len(self._resumable) + self._able.total

    @property
    def study(self) -> optuna.Study:
        """The trials that the sampler uses."""
        return known_study(self.sampler, self.state, self._plan.search.sampler.kind, self._plan.sample)

    def lost(self, name: str, cause: str, details: str, *, counts: bool = True) -> bool:
        """A trial lost its workers, or they failed because of infrastructure.  True if the trial ends."""
        if _has_workers(self.state.trials[name]):
            log = self._folder.write_log(name, "\n\n".join(filter(None, (cause, details))))
            self.note(events.Lost(name, cause, counts, str(log)))
        return self.should_end(name)

    def requeue_all(self, cause: str, details: str, guilty: Mapping[str, str]) -> None:
        """All trials lost their processes and run again.  It counts as a failure for the guilty trials."""
        for name in sorted(self._held):
            self.lost(name, guilty.get(name, cause), details, counts=name in guilty)
            self.requeue(name)

    def requeue(self, name: str) -> None:
        """A trial without a process runs again, unless it ends."""
        self._held.discard(name)
        if self.should_end(name):
            self.ended(name, {})

    def should_end(self, name: str) -> bool:
        """True if a trial has paused or ended, or is out of retries."""
        trial = self.state.trials[name]
        return not _has_workers(trial) or len(trial.losses) > self._plan.resources.retries

    def checkpoints_of(self, name: str) -> tuple[str, ...]:
        """The checkpoints to resume from, the newest first."""
        return self.state.trials[name].checkpoints

    def reported(self, event: events.Report) -> bool:
        """Record a report of workers, unless a restart repeats it.  True if the trial stops."""
        trial = self.state.trials[event.trial]
        if not _has_workers(trial):
            return True
        match event:
            case events.Noted(text=text):
                self._folder.write_log(event.trial, text)
            case events.Progressed(images=images) if images <= trial.images:
                return False
            case events.Saved(images=images) if images in trial.saved:
                return False
            case events.Evaluated(evaluation=found) if found.images in trial.evaluations:
                return False
            case events.Saved(checkpoint=str(name)) | events.Evaluated(checkpoint=str(name)):
                try:
                    check_visible(checkpoint_place(self._folder.root, name))
                except GensweepError as problem:
                    self.problem = problem
                    raise
        if isinstance(event, events.Evaluated) and event.checkpoint is not None:
            self._folder.keep_pictures(event.trial, event.evaluation.images, event.checkpoint)
        self.note(event)
        if isinstance(event, events.Evaluated):
            self._decide(trial)
            self._follow_up()
        return not _has_workers(trial)

    def ended(self, name: str, result: Mapping[str, Any]) -> None:
        """The workers of a trial are gone; `result` is their last report."""
        trial = self.state.trials[name]
        if (failure := result.get("sweep_failure")) is not None and _has_workers(trial):
            self.problem = self.problem or GensweepError(failure)
        if self.problem is not None:
            return
        self._held.discard(name)
        if not _has_workers(trial):
            return
        try:
            if (error := result.get("failure")) is not None:
                log = str(self._folder.write_log(name, f"{error}\n\n{result.get('details', '')}"))
                end = events.Ended(name, "failed", f"{error}; log: {log}", log)
            elif self.should_end(name):  # it is out of retries
                times, last = len(trial.losses), trial.losses[-1]
                without = f"the last of {times} failures in a row without a new checkpoint; " if times > 1 else ""
                error = f"{last.cause} ({without}log: {last.log})"
                end = events.Ended(name, "failed", error, last.log, infrastructure_error=True)
            elif not (result.get("finished") or trial.images >= (trial.length or self._plan.budget)):
                end = events.Ended(name, "stopped" if self.interrupted else "pruned")
            elif trial.score is None:
                end = events.Ended(name, "failed", f"it ended without reporting {self.state.metric}")
            else:
                end = events.Ended(name, "finished")
            self.note(end)
            self._follow_up()
        except Exception as problem:
            self.problem = problem
            raise

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _able(self) -> Startable:
        """Cached until the next event, because Tune asks all the time."""
        if self._startable is None:
            self._startable = self._scheduler.startable(self.state)
        return self._startable

    @property
    def _resumable(self) -> list[TrialState]:
        """Interrupted trials and repeats without workers."""
        unfinished = (trial for trial in self.state.unfinished if trial.status != "paused")
        return [trial for trial in unfinished if trial.trial not in self._held]

    @property
    def _next(self) -> Decision:
        return next(iter(self._resumable), None) or self._scheduler.next(self.state, self._held, self._able)

    @property
    def _too_little_gain(self) -> float | None:
        """The expected gain of further trials, if it is below `search.stop_when`; asked only once."""
        limit = self._plan.search.stop_when
        if limit is None or self.state.exhausted:
            return None
        gain = expected_gain(self.state)
        return gain if gain < limit.expected_gain else None

    def _decide(self, trial: TrialState) -> None:
        """Pause or end a trial after its newest evaluation, unless that has no score.  Repeats train to their ends."""
        scores = next(reversed(trial.evaluations.values())).evaluation.scores
        if self.state.metric not in scores or trial.repeat_of is not None:
            return
        patience = self._plan.search.patience
        if patience is not None and trial.evaluations_at_best > patience:
            self.note(events.Ended(trial.trial, "finished"))
            return
        match self._scheduler.verdict_on(trial, self.state):
            case "pause":
                self.note(events.Paused(trial.trial))
            case "stop":
                self.note(events.Ended(trial.trial, "pruned"))

    def _follow_up(self) -> None:
        """End trials that cannot meet a limit, and paused ones as scheduled; start repeats."""
        for trial in self.state.unfinished:
            if trial.best is None and trial.broken_limits:
                self.note(events.Ended(trial.trial, "infeasible", "; ".join(trial.broken_limits)))
        for trial in self._scheduler.to_stop(self.state):
            self.note(events.Ended(trial.trial, "pruned"))
        asked = self.state.repeats or self._plan.search.repeats
        repeats = [] if asked is None else due_repeats(self.state, asked, self._plan.configure)
        for event in (*repeats, *self._plan.due(self.state)):
            self.note(event)

    def _take_over(self, start: Mapping[str, Any]) -> None:
        """Sample the trial that continues from a checkpoint, and record the evaluations up to it."""
        trial = self.state.trials.get(FIRST_TRIAL) or self._suggest()
        for each in map(Evaluation.from_dict, self._folder.settings["start"]["evaluations"]):
            if each.images not in trial.evaluations:
                checkpoint = start["checkpoint"] if each.images == start["images"] else None
                self.note(events.Evaluated(trial.trial, each, checkpoint))

    def _suggest(self) -> TrialState:
        """Sample a trial; it ends at once if its settings are invalid or break a limit."""
        number, study, queue = self.state.next_number, self.study, [*self._plan.queue, *self.state.queue]
        name = f"t{number:04d}"
        params: Mapping[str, Any] = {}
        config, known = params, params
        problem: GensweepError | None = None
        if number < len(queue):
            study.enqueue_trial(dict(queue[number]))
        asked = study.ask()
        try:
            params = self._plan.sample(asked)
            config = self._plan.configure(params)
            known = self._plan.known(config)
        except GensweepError as error:
            problem = error
        self.note(events.Suggested(name, number, asked.params, params, config, known=known))
        trial = self.state.trials[name]
        if problem is not None:
            is_own = isinstance(problem, ConfigError)
            self.note(events.Ended(name, "failed", str(problem), infrastructure_error=not is_own))
        self._follow_up()
        return trial

    def _delete(self, checkpoints: set[str]) -> None:
        for name in checkpoints:
            if self._sync is None:
                self._folder.delete(name)
            else:  # a driver with only the storage's log may need it until then
                self._sync.later(partial(self._folder.delete, name))


def _scheduler(plan: SweepPlan) -> Scheduler:
    sizes = plan.budget, plan.grace, plan.search.most_repeats
    match plan.search.scheduler:
        case AshaSettings() as asha:
            return Asha(*sizes, asha)
        case MedianStopping() as median:
            return Median(*sizes, median)
    return Scheduler(*sizes)


def _last_failure(state: SweepState) -> str:
    """The trial that failed or broke a limit last, with its error."""
    failed = [trial for trial in state.trials.values() if trial.status in ("failed", "infeasible")]
    last = max(reversed(failed), key=lambda trial: trial.ended_at or 0)
    return f"the last one, {last.trial}: {last.error}"


def _has_workers(trial: TrialState) -> bool:
    """False once a trial has paused or ended, even before its workers know."""
    return trial.status in ("waiting", "running")
