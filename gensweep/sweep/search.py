"""The driver's ends of Tune: what to run next, what is reported, when a trial and when the sweep is to stop."""

from __future__ import annotations

import threading
import time
import traceback
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from gensweep.sweep.events import Started
from gensweep.sweep.placement import free_dead
from gensweep.sweep.session import Session

FREEING_INTERVAL = 1.0  # seconds between two looks for trial actors that have died


class _NotStored:
    """Tune writes its tuner to disk; gensweep never reads that back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (object, ())


class SessionSearcher(_NotStored, Searcher):
    """Interrupted trials of earlier sessions first, from their checkpoints, then new ones."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._trials: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial, None if it is not known as yet whether there is one, or Tune's word for "no more"."""
        trial = self._session.next_trial()
        if trial is None:
            return None if self._session.waits else Searcher.FINISHED
        self._trials[trial_id] = trial.trial
        return {"trial": trial.trial, "config": trial.config}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended by itself or was stopped; of an error more is known later, in the callback."""
        if not error:
            self._session.ended(self._trials[trial_id], result or {})

    def save(self, checkpoint_path: str) -> None:
        """Leave word in Tune's folder where the state of the search is."""
        Path(checkpoint_path).write_text("see events.jsonl in the sweep's folder\n")


class SessionCallback(_NotStored, Callback):
    """Notes starts, and trials whose actor was lost too often; reports come by the stopper, ends by the searcher."""

    def __init__(self, session: Session, queue: Any) -> None:
        self._session, self._queue = session, queue

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Workers take the trial, for the first time or after it was lost."""
        name = trial.config["trial"]
        ray.get(self._queue.start_from.remote(name, self._session.state.trials[name].checkpoints))
        self._session.note(Started(name))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its actor died too often."""
        error = trial.get_error()
        text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else str(error)
        self._session.ended(trial.config["trial"], {}, "the trial's own process was lost, too often to go on", text)


class SessionStopper(_NotStored, Stopper):
    """Hands reports to the session, which says when a trial is to stop; ends everything once `stop` is set."""

    def __init__(self, stop: threading.Event, session: Session, queue: Any, leases: Path) -> None:
        self._stop, self._session, self._queue, self._leases = stop, session, queue, leases
        self._freed = 0.0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to end a trial; this is the first thing that Tune asks about a result."""
        return "event" in result and self._session.reported(result["event"])

    def stop_all(self) -> bool:
        """Whether to end it all, which wakes the trial actors that wait for their workers; Tune asks all the time."""
        if self._session.problem is not None:
            raise self._session.problem
        if time.monotonic() - self._freed > FREEING_INTERVAL:
            free_dead(self._leases)
            self._freed = time.monotonic()
        if self._stop.is_set() and not self._session.interrupted:
            self._session.interrupted = True
            ray.get(self._queue.close.remote())
        return self._session.interrupted
