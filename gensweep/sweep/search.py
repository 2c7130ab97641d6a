"""The driver's ends of Tune: what to run next, what is reported, when a trial and when the sweep is to stop."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from gensweep.phases import UNSAVED
from gensweep.search.session import Session
from gensweep.sweep.capacity import Capacity
from gensweep.sweep.events import Evaluated, Saved, Stopping
from gensweep.sweep.placement import free_dead, free_groups

FREEING_INTERVAL = 1.0  # seconds between two looks for trial actors that have died
SAVING_SECONDS = 20.0  # that trials have to save before a sweep stops: Kubernetes kills after 30


class _NotStored:
    """Tune writes its tuner to disk; gensweep never reads that back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (object, ())


class SessionSearcher(_NotStored, Searcher):
    """Interrupted trials of earlier sessions first, from their checkpoints, then new ones; as many as have a place."""

    def __init__(self, session: Session, capacity: Capacity, stop: threading.Event) -> None:
        super().__init__()
        self._session, self._capacity, self._stop = session, capacity, stop
        self._trials: dict[str, str] = {}
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The next trial, None if there is none as yet or no place for it, or Tune's word for "no more"."""
        if self._stop.is_set() or self._session.gives_up:
            return Searcher.FINISHED
        self.look()
        if self._session.pending and not self._has_place:
            return None
        trial = self._session.next_trial()
        if trial is None:
            return None if self._session.waits else Searcher.FINISHED
        self._trials[trial_id] = trial.trial
        self._running.add(trial_id)
        checkpoints = self._session.checkpoints_of(trial.trial)
        return {"trial": trial.trial, "config": trial.config, "checkpoints": checkpoints}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended by itself or was stopped; of an error more is known later, in the callback."""
        self._running.discard(trial_id)
        if not error:
            self._session.ended(self._trials[trial_id], result or {})
        # Tune keeps the trial's actor for the next one.  If that does not start now, the workers go to another trial
        # that waits for some, or their node becomes idle.
        if result is not None and "runner" in result and not (self._session.pending and self._has_place):
            free_groups([result["runner"]])

    def look(self) -> None:
        """See what the cluster holds, and ask for what is missing."""
        self._capacity.update(len(self._running), self._session.pending, self._session.note)

    @property
    def _has_place(self) -> bool:
        return len(self._running) < self._capacity.trials

    def save(self, checkpoint_path: str) -> None:
        """Leave word in Tune's folder where the state of the search is."""
        Path(checkpoint_path).write_text("see events.jsonl in the sweep's folder\n")


class SessionCallback(_NotStored, Callback):
    """Notes that a trial's actor was lost; reports come by the stopper, ends by the searcher."""

    def __init__(self, session: Session, queue: Any) -> None:
        self._session, self._queue = session, queue

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """An actor takes the trial, for the first time or after it was lost."""
        name = trial.config["trial"]
        ray.get(self._queue.start_from.remote(name, self._session.checkpoints_of(name)))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its actor died; Tune starts another one."""
        self._session.lost(trial.config["trial"], "the trial's own process was lost", _traceback_of(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune cannot start another actor."""
        self._session.ended(trial.config["trial"], {}, "the trial's own process was lost", _traceback_of(trial))


def _traceback_of(trial: Any) -> str:
    error = trial.get_error()
    return "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else str(error)


class SessionStopper(_NotStored, Stopper):
    """Hands reports to the session, which says when a trial or all are to stop.

    Once `stop` is set, or the session gives up, it lets the trials save where they are, and then ends everything.
    """

    def __init__(
        self, stop: threading.Event, session: Session, queue: Any, leases: Path, look: Callable[[], None]
    ) -> None:
        self._stop, self._session, self._queue, self._leases, self._look = stop, session, queue, leases, look
        self._freed = 0.0
        self._unsaved: set[str] = set()
        self._closes_at: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to end a trial; this is the first thing that Tune asks about a result."""
        match result:
            case {"event": Evaluated() | Saved() as event}:
                self._unsaved.discard(event.trial)
                return self._session.reported(event)
            case _ if self._session.interrupted:  # Tune says the last result again of a trial that is told to close
                return True
            case {"event": event}:
                return self._session.reported(event)
            case {"taken": trial}:
                return self._session.is_to_end(trial)
            case {"lost": trial, "cause": cause, "details": details, "counts": counts, "stack": stack}:
                return self._session.lost(trial, cause, details, counts=counts, stack=stack)
        return False

    def stop_all(self) -> bool:
        """Whether to end it all, which wakes the trial actors that wait for their workers; Tune asks all the time."""
        if self._session.problem is not None:
            raise self._session.problem
        if time.monotonic() - self._freed > FREEING_INTERVAL:
            free_dead(self._leases)
            self._freed = time.monotonic()
        self._look()
        if (self._stop.is_set() or self._session.gives_up) and not self._session.interrupted:
            self._close()
        return self._session.interrupted

    def _close(self) -> None:
        """Ask those that train for a checkpoint, and end it all once they have saved, or after a while."""
        running = {trial.trial for trial in self._session.state.running}
        if self._closes_at is None:
            self._closes_at = time.monotonic() + SAVING_SECONDS
            self._unsaved = {trial.trial for trial in self._session.state.running if trial.phase in UNSAVED}
            if self._unsaved:
                self._session.note(Stopping(sorted(self._unsaved)))
                ray.get(self._queue.begin_to_close.remote())
        if not self._unsaved & running or time.monotonic() > self._closes_at:
            self._session.interrupted = True
            ray.get(self._queue.close.remote())
