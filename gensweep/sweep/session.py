"""A driver's session on a sweep: what Tune tells goes into the log, what Tune is to run comes out of the state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias
from uuid import uuid4

from gensweep.config.sweep_config import Repeats
from gensweep.errors import ConfigError, GensweepError
from gensweep.remote_folder import is_url
from gensweep.sweep import events
from gensweep.sweep.checkpoints import check_visible, delete
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.giving_up import fruitless_words, is_fruitless, outside_words
from gensweep.sweep.repeats import due_repeats
from gensweep.sweep.retrying import Retry
from gensweep.sweep.schedulers import make_scheduler
from gensweep.sweep.search_budget import trials_paid
from gensweep.sweep.start import Start, earlier_scores, stored_start
from gensweep.sweep.state import SweepState
from gensweep.sweep.storage import HeldStorage
from gensweep.sweep.study import SearchStudy
from gensweep.sweep.sweep_plan import NEW, SweepPlan
from gensweep.sweep.trial_state import TrialState

TRIAL_NAME = "t{:04d}"
FIRST_TRIAL = TRIAL_NAME.format(0)

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
        repeats: Repeats | None = None,
        retry: Retry | None = None,
        storage: HeldStorage | None = None,
    ) -> None:
        self._plan, self._folder, self._observers = plan, folder, observers
        self._upkeep = None if storage is None else storage.upkeep
        if self._upkeep is not None:
            self._observers = [*observers, self._upkeep]
            self._upkeep.on_loss(self._stop_for)
        self._scheduler = make_scheduler(plan)
        self.state = SweepState()
        for entry in folder.log.read():
            self._apply(entry.event, entry.time)
        self.interrupted = False
        """Whether trials that end now are stopped, not pruned."""
        self.problem: Exception | None = None
        """What went wrong where Tune would take it for a failure of one trial."""
        if self.state.created is None:
            metric, mode = plan.objective.metric, plan.objective.mode
            budget, search = plan.budget if plan.equal else None, plan.search.budget
            limits = (plan.unit, budget) if search is None else (plan.unit, budget, search.unit, search.amount)
            trials = plan.search.most_trials
            sweep_id = uuid4().hex if storage is None else storage.sweep_id
            created = events.Created(sweep_id, plan.name, metric, mode, trials, plan.keep_best, *limits)
            further, bounds = ([each.model_dump() for each in listed] for listed in (plan.further, plan.constraints))
            # Of sweep.json, for a driver may have died since it was written.
            if storage is not None and (asked := folder.settings.get("start")) is not None:
                created = replace(created, start=stored_start(Start(**asked), storage.root, FIRST_TRIAL))
            self.note(replace(created, further=further, constraints=bounds))
        for known in plan.warm_starts[len(self.state.sources) :]:  # a start before this one may have ended between them
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
        self.study = SearchStudy(self.state, plan.search, plan.sample, plan.nodes)
        for trial in self.state.unfinished:
            self._end_if_infeasible(trial)
        self._carry_out()
        self.note(events.SessionStarted(concurrent, plan.store, plan.tags))
        if self.state.created is not None and self.state.created.start is not None:
            self._take_over(self.state.created.start)
        self._resumable = [trial for trial in self.state.unfinished if trial.status != "paused"]
        self._repeat_best()

    def note(self, event: events.Event) -> None:
        """Add an event to the log, and tell the observers."""
        event = events.without_secrets(event)
        entry = self._folder.log.append(event)
        self._apply(event, entry.time)
        for observer in self._observers:
            try:
                observer(event, self.state)
            except Exception:  # training goes on, whatever happens to a display
                _log.exception("observer %s failed", type(observer).__name__)

    def next_trial(self) -> TrialState | None:
        """What is to run next: interrupted trials, then as the scheduler says, then repeats; None: none as yet."""
        while not self.gives_up:
            if self._resumable:
                return self._handed_out(self._resumable.pop(0))
            known, draws = self._runnable
            if not (known or draws):
                if NEW not in self._offered or self.state.running or self.state.waiting or is_fruitless(self.state):
                    return None
                self.note(events.Exhausted(self.state.wanted_once_exhausted))
                self._carry_out()
                self._repeat_best()
                continue
            trial = self.state.trials[known[0]] if known else self._suggest()
            if not trial.ended:
                return self._handed_out(trial)
        return None

    @property
    def waits(self) -> bool:
        """Whether there may be a trial to run once others have ended or paused, and it is known what they cost."""
        behind_others = self._scheduler is not None or self._repeats is not None
        return len(self.state.searched) < self.state.wanted or (behind_others and self.state.undecided > 0)

    @property
    def gives_up(self) -> str | None:
        """Why the sweep stops by itself, if it does: trial after trial breaks a limit, or fails."""
        if is_fruitless(self.state) and self._can_only_draw:
            return fruitless_words(self.state)
        most, failed = self._plan.resources.stop_after_failed, self.state.failed_in_a_row
        return None if most is None or failed < most or not self.state.left else outside_words(self.state)

    @property
    def pending(self) -> int:
        """How many trials could start now, if they had the workers."""
        known, draws = self._runnable
        return len(self._resumable) + len(known) + draws

    def lost(self, name: str, cause: str, details: str, *, counts: bool = True, stack: str = "") -> bool:
        """A trial lost its workers, or they failed for a cause outside of it.  Returns whether it is to end."""
        log = self._folder.write_log(name, "\n\n".join(filter(None, (cause, stack, details))))
        self.note(events.Lost(name, cause, counts, str(log), stack))
        return self.is_worn_out(name)

    def begin_again(self, cause: str, details: str) -> None:
        """All trials that were begun lost their own processes, and are to be run again unless they are worn out."""
        for trial in [*self.state.running, *self.state.waiting]:
            if trial in self._resumable:
                continue
            if self.lost(trial.trial, cause, details) or self._is_to_stop(trial):
                self.ended(trial.trial, {})
            else:
                self._resumable.append(trial)

    def is_worn_out(self, name: str) -> bool:
        """Whether a trial has failed too often since its last checkpoint."""
        return len(self.state.trials[name].losses) > self._plan.resources.retries

    def checkpoints_of(self, name: str) -> tuple[str, ...]:
        """Where the checkpoints lie from which a trial goes on, the newest first."""
        return tuple(self._folder.resolve(uri) for uri in self.state.trials[name].checkpoints)

    def reported(self, event: events.Report) -> bool:
        """Workers reported; what a restart does again is left out.  Returns whether the trial is to stop."""
        trial = self.state.trials[event.trial]
        if isinstance(event, events.Noted):
            self._folder.write_log(event.trial, event.text)
        if isinstance(event, events.Started | events.Paced | events.Entered | events.Noted | events.Stalled):
            self.note(event)
            return False
        if isinstance(event, events.Progressed):
            if event.images > trial.images:
                self.note(event)
            return False
        if isinstance(event, events.Saved):
            if event.images not in trial.saved:
                self._check_visible(event.uri)
                self._note_change(trial, event)
            return False
        if event.evaluation.images in trial.evaluations:
            return False
        if event.uri is not None:
            self._check_visible(event.uri)
            self._folder.keep_pictures(event.trial, event.evaluation.images, event.uri)
        self._note_change(trial, event)
        self._carry_out()
        return self._plan.objective.metric in event.evaluation.scores and self._is_to_stop(trial)

    def ended(self, name: str, result: Mapping[str, Any], error: str | None = None, details: str = "") -> None:
        """A trial came to its end; how, follows from its last result and the error of its actor, if any."""
        trial = self.state.trials[name]
        if trial.status not in ("waiting", "running"):
            return
        if (failure := result.get("sweep_failure")) is not None:
            self.problem = self.problem or GensweepError(failure)
        if self.problem is not None:  # the sweep ends, and this trial can go on with it
            return
        error = error or result.get("failure")
        try:
            if error is None and self.is_worn_out(name):
                self._note_change(trial, _worn_out(trial))
            elif error is not None:
                log = self._folder.write_log(name, f"{error}\n\n{details or result.get('details', '')}")
                self._note_change(trial, events.Ended(name, "failed", f"{error}; log: {log}", str(log)))
            elif not (result.get("finished") or self._is_at_its_end(trial)):
                self._note_change(trial, self._early_end(trial))
            elif trial.objective is None:
                error = f"it ended without reporting {self._plan.objective.metric}"
                self._note_change(trial, events.Ended(name, "failed", error))
            else:
                self._note_change(trial, events.Ended(name, "finished"))
            self._carry_out()
            self._repeat_best()
        except Exception as problem:
            self.problem = problem
            raise

    # -- inside ----------------------------------------------------------------------------------------------------

    def _apply(self, event: events.Event, time: int) -> None:
        self.state.apply(event, time)
        if self._scheduler is not None:
            self._scheduler.apply(event, self.state)

    @property
    def _offered(self) -> list[str]:
        """The trials that may run now besides the interrupted ones, the next one first."""
        drawn = [NEW] if len(self.state.searched) < self.state.wanted else []
        return drawn if self._scheduler is None else self._scheduler.offered()

    @property
    def _runnable(self) -> tuple[list[str], int]:
        """The trials that may run now, the next one first, and how many may be drawn behind them: they are paid for."""
        offered, state = self._offered, self.state
        paid = 0 if NEW not in offered or is_fruitless(state) else trials_paid(state, self._scheduler)
        draws = int(min(paid, state.wanted - len(state.searched)))
        return (offered[: offered.index(NEW)] if draws else [each for each in offered if each != NEW]), draws

    @property
    def _can_only_draw(self) -> bool:
        """Whether nothing trains or could go on, and either trials are to be drawn, or nothing was found."""
        busy = self._resumable or self.state.running or self.state.waiting or set(self._offered) - {NEW}
        return not busy and (len(self.state.searched) < self.state.wanted or self.state.best is None)

    def _wanted(self, trial: TrialState) -> Literal["go on", "pause", "stop"]:
        """What the scheduler wants of a trial; those that repeat another one it leaves alone."""
        scheduler = self._scheduler
        return "go on" if scheduler is None or trial.repeat_of is not None else scheduler.wants(trial.trial)

    def _early_end(self, trial: TrialState) -> events.Paused | events.Ended:
        """What it means that a trial was stopped before it came to its end."""
        if self._is_stale(trial):
            return events.Ended(trial.trial, "finished")
        wanted = self._wanted(trial)
        if wanted == "pause":
            return events.Paused(trial.trial)
        return events.Ended(trial.trial, "stopped" if wanted == "go on" and self.interrupted else "pruned")

    def _carry_out(self) -> None:
        """Do what is wanted of trials that no workers have; a crash may have come between the two."""
        for name, clone in ({} if self._scheduler is None else self._scheduler.clones()).items():
            trial, source = self.state.trials[name], self.state.trials[clone.source.trial]
            params, config = clone.params, source.config
            try:
                config = self._plan.configure(params)
            except ConfigError:  # settings that do not go together: it goes on with those of the other trial
                params = source.params
            known = source.params
            changed = {key: (known[key], value) for key, value in params.items() if value != known[key]}
            origin = (source.trial, clone.source.images, clone.source.uri)
            self._note_change(trial, events.Cloned(name, *origin, params, config, changed))
        while decided := next(self._decided, None):
            self._note_change(decided, self._early_end(decided))  # which may decide about others

    @property
    def _decided(self) -> Iterator[TrialState]:
        """Trials that no workers have, and that are to end or to wait."""
        held = [self.state.trials[name] for name in (self._scheduler.stopping() if self._scheduler else ())]
        yield from (trial for trial in held if trial.status == "paused")
        yield from (trial for trial in self.state.unfinished if trial.status == "stopped" and self._is_to_stop(trial))

    def _repeat_best(self) -> None:
        """Ask for the trainings with other seeds that are due."""
        configure = self._plan.configure
        for event in [] if self._repeats is None else list(due_repeats(self.state, self._repeats, configure)):
            self.note(event)
            self._resumable.append(self.state.trials[event.trial])

    def _handed_out(self, trial: TrialState) -> TrialState:
        """The trial, on record as one that waits for workers: Tune asks for the next one before they begin."""
        if trial.status != "waiting":
            self.note(events.Resumed(trial.trial))
        return trial

    def _take_over(self, start: Mapping[str, Any]) -> None:
        """Draw the trial that goes on from a checkpoint, and note how the training scored until there."""
        trial = self.state.trials.get(FIRST_TRIAL) or self._suggest()
        for event in list(earlier_scores(Start(**self._folder.settings["start"]), start, trial)):
            self._note_change(trial, event)

    def _suggest(self) -> TrialState:
        none: Mapping[str, Any] = {}
        params, config, known = none, none, none
        problem: GensweepError | None = None
        number, queue = len(self.state.searched), [*self._plan.queue, *self.state.queue]
        name = TRIAL_NAME.format(number)
        asked = self.study.ask(name, queue[number] if number < len(queue) else None)
        try:
            params = self._plan.sample(asked)
            config = self._plan.configure(params)
            known = self._plan.known(config)
        except GensweepError as error:
            problem = error
        noted = self.study.noted_of(name)
        self.note(events.Suggested(name, number, asked.params, params, config, sampler_state=noted, known=known))
        trial = self.state.trials[name]
        if problem is not None:
            outside = not isinstance(problem, ConfigError)
            self._note_change(trial, events.Ended(name, "failed", str(problem), outside=outside))
        self._end_if_infeasible(trial)
        if trial.ended:
            self._carry_out()
        self._repeat_best()
        return trial

    def _end_if_infeasible(self, trial: TrialState) -> None:
        """End a trial that was not trained and cannot meet a limit."""
        if trial.broken_limits and trial.best is None and not trial.ended:
            self._note_change(trial, events.Ended(trial.trial, "infeasible", "; ".join(trial.broken_limits)))

    def _is_at_its_end(self, trial: TrialState) -> bool:
        return trial.images >= (trial.length or self._plan.budget)

    def _is_stale(self, trial: TrialState) -> bool:
        """Whether its best score has stood for the sweep's patience."""
        patience = self._plan.search.patience
        return patience is not None and trial.repeat_of is None and trial.evaluations_at_best > patience

    def _is_to_stop(self, trial: TrialState) -> bool:
        """Whether a trial is to stop where it was scored last, for good or until others have come as far."""
        return self._wanted(trial) != "go on" or self._is_stale(trial)

    def _note_change(
        self,
        trial: TrialState,
        event: events.Evaluated | events.Saved | events.Paused | events.Cloned | events.Ended,
    ) -> None:
        """Note a checkpoint or an end, tell Optuna, and delete the checkpoints that are of no more use."""
        before = trial.useful_checkpoints
        self.note(event)
        self.study.tell(trial)
        unused = before - trial.useful_checkpoints
        # Only where trials are cloned can one need the checkpoints of another.
        self._delete(trial, unused - self.state.useful_checkpoints if unused and self.state.clones else unused)

    def _close_lost_session(self) -> None:
        if self.state.status == "running":
            self.note(events.SessionEnded("interrupted", "its driver was lost"))
        # A crash may have come between the end of a checkpoint's use and its deletion.
        useful = self.state.useful_checkpoints
        for trial in self.state.trials.values():
            local = {uri for uri in trial.stored_checkpoints if not is_url(uri)}
            self._delete(trial, local - useful)

    def _delete(self, trial: TrialState, uris: set[str]) -> None:
        for uri in uris:
            remove = partial(delete, self._folder.resolve(uri), self._folder.fetched(trial.trial))
            if self._upkeep is None:
                remove()
            else:  # another driver, which knows what the storage has of the log, may need it until then
                self._upkeep.later(remove)

    def _check_visible(self, uri: str) -> None:
        try:
            check_visible(uri)
        except GensweepError as problem:
            self.problem = problem
            raise

    def _stop_for(self, problem: GensweepError) -> None:
        self.problem = problem


def _worn_out(trial: TrialState) -> events.Ended:
    times, last = len(trial.losses), trial.losses[-1]
    without = f"the last of {times} failures in a row without a new checkpoint; " if times > 1 else ""
    return events.Ended(trial.trial, "failed", f"{last.cause} ({without}log: {last.log})", last.log, outside=True)
