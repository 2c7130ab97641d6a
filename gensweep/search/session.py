"""A driver's session on a sweep: reports become events of the log, and the state decides what runs next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

from gensweep.config.sweep_config import Repeats
from gensweep.errors import ConfigError, GensweepError
from gensweep.results import Evaluation
from gensweep.search.decisions import (
    Decision,
    format_failures,
    format_infrastructure_errors,
    make_search,
    too_many_failures,
)
from gensweep.search.reruns import Retry, due_repeats
from gensweep.search.samplers import Sampler, sampler_state
from gensweep.search.sweep_plan import InitialCheckpoint, SweepPlan
from gensweep.sweep import events
from gensweep.sweep.checkpoints import check_visible, checkpoint_place
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.storage import HeldStorage
from gensweep.sweep.trial_state import TrialState

TRIAL_NAME = "t{:04d}"
FIRST_TRIAL = TRIAL_NAME.format(0)

_log = logging.getLogger(__name__)

Observer: TypeAlias = Callable[[events.Event, SweepState], None]
"""Called after each event, with the state that follows; it should return at once, and may fail."""


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
    ) -> None:
        self._plan, self._folder, self._observers = plan, folder, observers
        self._upkeep = None if storage is None else storage.upkeep
        if self._upkeep is not None:
            self._observers = [*observers, self._upkeep]
            self._upkeep.on_loss(lambda problem: setattr(self, "problem", problem))
        self._search = make_search(plan)
        self._held: set[str] = set()
        """Trials that have workers, also if they have just paused."""
        self._decision: Decision | None = None
        self._runnable: int | None = None
        self.state = SweepState()
        last: events.Event | None = None
        for entry in folder.log.read():
            last = entry.event
            self.state.apply(last, entry.time)
        self.interrupted = False
        """True if trials that end now are stopped, not pruned."""
        self.problem: Exception | None = None
        """An error of the whole sweep, which Tune would take for the failure of one trial."""
        if self.state.created is None:
            created = plan.created(uuid4().hex if storage is None else storage.sweep_id)
            # From sweep.json, as a driver may have died after writing it.
            if storage is not None and (asked := folder.settings.get("start")) is not None:
                created = replace(created, start=InitialCheckpoint(**asked).stored(storage.root, FIRST_TRIAL))
            self.note(created)
        for known in plan.warm_starts[len(self.state.sources) :]:  # a driver may have died between them
            self.note(known)
        if more_trials:
            self.note(events.Extended(self.state.wanted + more_trials))
        if repeats is not None:
            self.note(events.RepeatsAsked(repeats.top, repeats.seeds))
        asked = self.state.repeats
        self._repeats = plan.search.repeats if asked is None else Repeats(top=asked.top, seeds=asked.seeds)
        self._close_lost_session()
        if retry is not None:
            retry.check(folder)
            for name, config in retry.configs(self.state, plan.configure).items():
                self.note(events.Retried(name, config))
        self.sampler = Sampler(plan.search, self.state, plan.sample, plan.nodes)
        for trial in self.state.unfinished:
            self._end_if_infeasible(trial)
        if isinstance(last, events.Evaluated) and last.trial in self.state.trials:  # the driver was lost here
            self._decide(self.state.trials[last.trial])
        self._carry_out()
        self.note(events.SessionStarted(concurrent, plan.tags))
        if self.state.created is not None and self.state.created.start is not None:
            self._take_over(self.state.created.start)
        self._resumable = [trial for trial in self.state.unfinished if trial.status != "paused"]
        self._repeat_best()

    def note(self, event: events.Event) -> None:
        """Add an event to the log, and call the observers."""
        event = events.without_secrets(event)
        entry = self._folder.log.append(event)
        self._decision = self._runnable = None
        self.state.apply(event, entry.time)
        for observer in self._observers:
            try:
                observer(event, self.state)
            except Exception:  # a broken display must not stop the training
                _log.exception("observer %s failed", type(observer).__name__)

    def next_trial(self) -> TrialState | None:
        """The trial to run next: interrupted trials and repeats, then what the search decides; None if none yet."""
        while not self.gives_up:
            if self._resumable:
                return self._hand_out(self._resumable.pop(0))
            match self._next:
                case Decision("resume", name):
                    return self._hand_out(self.state.trials[name])
                case Decision("sample"):
                    trial = self._suggest()
                    if not trial.ended:
                        return self._hand_out(trial)
                case Decision("stop") if self._wants_more and not too_many_failures(self.state):
                    self.note(events.Exhausted(self.state.wanted_once_exhausted))
                    self._carry_out()
                    self._repeat_best()
                case _:
                    return None
        return None

    @property
    def waits(self) -> bool:
        """True if another trial may become runnable later."""
        return self._next.action == "wait"

    @property
    def gives_up(self) -> str | None:
        """The reason why the sweep stops by itself; None if it does not."""
        fails = too_many_failures(self.state) and (self._wants_more or self.state.best is None)
        if fails and not self._resumable and self._next.action == "stop":
            return format_failures(self.state)
        most, errors = self._plan.resources.stop_after_failed, self.state.infrastructure_errors_in_a_row
        return format_infrastructure_errors(self.state) if most and errors >= most and self.state.left else None

    @property
    def pending(self) -> int:
        """How many trials could start now, if there were workers for all."""
        if self._runnable is None:
            self._runnable = self._search.runnable(self.state)
        return len(self._resumable) + self._runnable

    def lost(self, name: str, cause: str, details: str, *, counts: bool = True) -> bool:
        """A trial lost its workers, or they failed because of infrastructure.  True if the trial ends."""
        if _has_workers(self.state.trials[name]):
            log = self._folder.write_log(name, "\n\n".join(filter(None, (cause, details))))
            self.note(events.Lost(name, cause, counts, str(log)))
        return self.is_to_end(name)

    def requeue_all(self, cause: str, details: str, guilty: Mapping[str, str]) -> None:
        """All trials lost their processes and run again.  It counts for the guilty trials, for their own causes."""
        for trial in [*self.state.running, *self.state.waiting]:
            if trial in self._resumable:
                continue
            self.lost(trial.trial, guilty.get(trial.trial, cause), details, counts=trial.trial in guilty)
            self.requeue(trial.trial)

    def requeue(self, name: str) -> None:
        """A trial without a process runs again, unless it ends."""
        self._held.discard(name)
        self._decision = None
        if self.is_to_end(name):
            self.ended(name, {})
        else:
            self._resumable.append(self.state.trials[name])

    def is_to_end(self, name: str) -> bool:
        """True if a trial has paused or ended, or is out of retries."""
        trial = self.state.trials[name]
        return not _has_workers(trial) or self._is_out_of_retries(trial)

    def checkpoints_of(self, name: str) -> tuple[str, ...]:
        """The checkpoints to resume from, the newest first."""
        return self.state.trials[name].checkpoints

    def reported(self, event: events.Report) -> bool:
        """Note a report of workers, unless a restart repeats it.  True if the trial stops."""
        trial = self.state.trials[event.trial]
        if not _has_workers(trial):
            return True
        if isinstance(event, events.Noted):
            self._folder.write_log(event.trial, event.text)
        if isinstance(event, events.Started | events.Paced | events.Entered | events.Noted):
            self.note(event)
            return False
        if isinstance(event, events.Progressed):
            if event.images > trial.images:
                self.note(event)
            return False
        if isinstance(event, events.Saved):
            if event.images not in trial.saved:
                self._check_visible(event.checkpoint)
                self._note_change(trial, event)
            return False
        if event.evaluation.images in trial.evaluations:
            return False
        if event.checkpoint is not None:
            self._check_visible(event.checkpoint)
            self._folder.keep_pictures(event.trial, event.evaluation.images, event.checkpoint)
        self._note_change(trial, event)
        self._decide(trial)
        self._carry_out()
        return not _has_workers(trial)

    def ended(self, name: str, result: Mapping[str, Any], error: str | None = None, details: str = "") -> None:
        """The workers of a trial are gone; `result` is their last report, `error` that of the actor."""
        trial = self.state.trials[name]
        self._held.discard(name)
        self._decision = None
        if (failure := result.get("sweep_failure")) is not None and _has_workers(trial):
            self.problem = self.problem or GensweepError(failure)
        if self.problem is not None or not _has_workers(trial):
            return
        error = error or result.get("failure")
        try:
            if error is None and self._is_out_of_retries(trial):
                times, last = len(trial.losses), trial.losses[-1]
                without = f"the last of {times} failures in a row without a new checkpoint; " if times > 1 else ""
                said = f"{last.cause} ({without}log: {last.log})"
                self._note_change(trial, events.Ended(name, "failed", said, last.log, infrastructure_error=True))
            elif error is not None:
                log = self._folder.write_log(name, f"{error}\n\n{details or result.get('details', '')}")
                self._note_change(trial, events.Ended(name, "failed", f"{error}; log: {log}", str(log)))
            elif not (result.get("finished") or trial.images >= (trial.length or self._plan.budget)):
                self._note_change(trial, events.Ended(name, "stopped" if self.interrupted else "pruned"))
            elif trial.score is None:
                error = f"it ended without reporting {self.state.metric}"
                self._note_change(trial, events.Ended(name, "failed", error))
            else:
                self._note_change(trial, events.Ended(name, "finished"))
            self._carry_out()
            self._repeat_best()
        except Exception as problem:
            self.problem = problem
            raise

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _next(self) -> Decision:
        """Cached until the next event, as Tune asks all the time."""
        if self._decision is None:
            self._decision = self._search.next(self.state, self._held)
        return self._decision

    @property
    def _wants_more(self) -> bool:
        return len(self.state.searched) < self.state.wanted

    def _decide(self, trial: TrialState) -> None:
        """Pause or end a trial after its newest evaluation, unless that has no score."""
        if self.state.metric not in next(reversed(trial.evaluations.values())).evaluation.scores:
            return
        patience = self._plan.search.patience
        if patience is not None and trial.repeat_of is None and trial.evaluations_at_best > patience:
            self._note_change(trial, events.Ended(trial.trial, "finished"))
            return
        match self._search.verdict_on(trial, self.state):
            case "pause":
                self._note_change(trial, events.Paused(trial.trial))
            case "stop":
                self._note_change(trial, events.Ended(trial.trial, "pruned"))

    def _carry_out(self) -> None:
        """Clone and end paused trials as the search decides."""
        for name, clone in self._search.scheduler.clones(self.state).items():
            trial, source, params = self.state.trials[name], clone.source, clone.params
            try:
                config = self._plan.configure(params)
            except ConfigError:  # an invalid combination: it continues with the source's settings
                params, config = source.params, dict(source.config)
            known = source.params
            changed = {key: (known[key], value) for key, value in params.items() if value != known[key]}
            origin = (source.trial, clone.images, clone.checkpoint)
            self._note_change(trial, events.Cloned(name, *origin, params, config, changed))
        for trial in self._search.to_stop(self.state):
            self._note_change(trial, events.Ended(trial.trial, "pruned"))

    def _repeat_best(self) -> None:
        """Start the repeats that are due."""
        configure = self._plan.configure
        for event in [] if self._repeats is None else list(due_repeats(self.state, self._repeats, configure)):
            self.note(event)
            self._resumable.append(self.state.trials[event.trial])

    def _hand_out(self, trial: TrialState) -> TrialState:
        """Hold a trial for workers: Tune asks for the next one before they begin."""
        self._held.add(trial.trial)
        if trial.status != "waiting":
            self.note(events.Resumed(trial.trial))
        return trial

    def _take_over(self, start: Mapping[str, Any]) -> None:
        """Sample the trial that continues from a checkpoint, and note the evaluations until there."""
        trial = self.state.trials.get(FIRST_TRIAL) or self._suggest()
        for each in map(Evaluation.from_dict, self._folder.settings["start"]["evaluations"]):
            if each.images not in trial.evaluations:
                checkpoint = start["checkpoint"] if each.images == start["images"] else None
                self._note_change(trial, events.Evaluated(trial.trial, each, checkpoint))

    def _suggest(self) -> TrialState:
        none: Mapping[str, Any] = {}
        params, config, known = none, none, none
        problem: GensweepError | None = None
        number, queue = self.state.next_number, [*self._plan.queue, *self.state.queue]
        name = TRIAL_NAME.format(number)
        asked = self.sampler.ask(self.state, queue[number] if number < len(queue) else None)
        try:
            params = self._plan.sample(asked)
            config = self._plan.configure(params)
            known = self._plan.known(config)
        except GensweepError as error:
            problem = error
        stored = sampler_state(asked)
        self.note(events.Suggested(name, number, asked.params, params, config, sampler_state=stored, known=known))
        trial = self.state.trials[name]
        if problem is not None:
            is_own = isinstance(problem, ConfigError)
            self._note_change(trial, events.Ended(name, "failed", str(problem), infrastructure_error=not is_own))
        self._end_if_infeasible(trial)
        if trial.ended:
            self._carry_out()
        self._repeat_best()
        return trial

    def _end_if_infeasible(self, trial: TrialState) -> None:
        """End a trial that was not trained and cannot meet a limit."""
        if trial.broken_limits and trial.best is None and not trial.ended:
            self._note_change(trial, events.Ended(trial.trial, "infeasible", "; ".join(trial.broken_limits)))

    def _is_out_of_retries(self, trial: TrialState) -> bool:
        """True if a trial has failed too often since its last checkpoint."""
        return len(trial.losses) > self._plan.resources.retries

    def _note_change(
        self,
        trial: TrialState,
        event: events.Evaluated | events.Saved | events.Paused | events.Cloned | events.Ended,
    ) -> None:
        """Note a checkpoint or an end, and delete the checkpoints that are no longer needed."""
        before = trial.useful_checkpoints
        self.note(event)
        unused = before - trial.useful_checkpoints
        if unused and self.state.clones:  # only there can a trial need the checkpoints of another
            unused -= self.state.useful_checkpoints
        for checkpoint in unused:
            if self._upkeep is None:
                self._folder.delete(checkpoint)
            else:  # a driver that knows only the storage's copy of the log may need it until then
                self._upkeep.later(partial(self._folder.delete, checkpoint))

    def _close_lost_session(self) -> None:
        if self.state.status == "running":
            self.note(events.SessionEnded("interrupted", "its driver was lost"))

    def _check_visible(self, checkpoint: str) -> None:
        try:
            check_visible(checkpoint_place(self._folder.root, checkpoint))
        except GensweepError as problem:
            self.problem = problem
            raise


def _has_workers(trial: TrialState) -> bool:
    """False once a trial has paused or ended, even before its workers know."""
    return trial.status in ("waiting", "running")
