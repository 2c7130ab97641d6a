"""How the driver follows Tune: results and ends into the ledger, a stop request out of it."""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import ray
from ray.tune import Callback, Stopper

from gensweep.sweep.group import free_groups_of_the_dead
from gensweep.sweep.trainable import OBJECTIVE

if TYPE_CHECKING:
    from gensweep.sweep.ledger import Ledger

__all__ = ["Follower", "Stops"]

HOUSEKEEPING = 10.0
"""Seconds between two looks for placement groups of trial actors that died."""


class Follower(Callback):
    """Tune's callback."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._last_look = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker group takes the trial."""
        self._ledger.started(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **i: Any) -> None:
        """One report of its workers."""
        if "report" in result:
            self._ledger.reported(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It ended by itself or the scheduler stopped it."""
        self._ledger.ended(trial.trial_id, trial.last_result or {})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its actor died too often."""
        free_groups_of_the_dead()
        error = trial.get_error()
        text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else str(error)
        self._ledger.ended(trial.trial_id, {}, "the trial's own process was lost, too often to go on", text)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its actor died; Tune starts another one, which needs the room of the dead one's workers."""
        free_groups_of_the_dead()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Housekeeping: an actor may also die between two trials."""
        if time.monotonic() - self._last_look > HOUSEKEEPING:
            self._last_look = time.monotonic()
            free_groups_of_the_dead()

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune writes its tuner to disk; gensweep never reads that back.
        return (Callback, ())


class Stops(Stopper):
    """Ends a trial that has not become better for long, and everything once `stop` is set."""

    def __init__(self, stop: threading.Event, ledger: Ledger, mailbox: Any) -> None:
        self._stop = stop
        self._ledger = ledger
        self._mailbox = mailbox

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to end a trial; Tune asks before the ledger hears of the result."""
        return OBJECTIVE in result and self._ledger.out_of_patience(trial_id, result["images"], result[OBJECTIVE])

    def stop_all(self) -> bool:
        """Whether to end it all; the trial actors that wait for their workers are woken."""
        if self._stop.is_set() and not self._ledger.interrupted:
            self._ledger.interrupted = True
            ray.get(self._mailbox.close.remote())
        return self._ledger.interrupted

    def __reduce__(self) -> tuple[Any, ...]:
        return (Stopper, ())
