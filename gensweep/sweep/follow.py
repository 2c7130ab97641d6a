"""How the driver follows Tune: reports and failures into the session, a stop request out of it."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import ray
from ray.tune import Callback, Stopper

from gensweep.results import Evaluation
from gensweep.sweep.session import Session

__all__ = ["Follower", "Stops"]


class Follower(Callback):
    """Tune's callback; how a trial ends, the searcher hears (see gensweep.sweep.search)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Workers take the trial."""
        self._session.started(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **i: Any) -> None:
        """One report of its workers."""
        if "report" in result:
            self._session.reported(trial.trial_id, result["report"], result["images"], result["checkpoint"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its actor died too often."""
        error = trial.get_error()
        text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else str(error)
        self._session.ended(trial.trial_id, {}, "the trial's own process was lost, too often to go on", text)

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune writes its tuner to disk; gensweep never reads that back.
        return (Callback, ())


class Stops(Stopper):
    """Ends a trial that has not become better for long, and everything once `stop` is set."""

    def __init__(self, stop: threading.Event, session: Session, queue: Any) -> None:
        self._stop = stop
        self._session = session
        self._queue = queue

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to end a trial; Tune asks before the session hears of the report."""
        report = result.get("report")
        return isinstance(report, Evaluation) and self._session.out_of_patience(trial_id, report)

    def stop_all(self) -> bool:
        """Whether to end it all; the trial actors that wait for their workers are woken."""
        if self._stop.is_set() and not self._session.interrupted:
            self._session.interrupted = True
            ray.get(self._queue.close.remote())
        return self._session.interrupted

    def __reduce__(self) -> tuple[Any, ...]:
        return (Stopper, ())
