"""Views of a running sweep: a thread follows the log, so training never waits for a server or a database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol

from filelock import BaseFileLock

from gensweep.sweep.events import Event
from gensweep.sweep.state import SweepState
from gensweep.tracking.store import cause_of

logger = logging.getLogger(__name__)

#: Seconds between two attempts while the server is unreachable.
RETRY_SECONDS = 5.0


class Follower(Protocol):
    """A copy of the log that can be updated."""

    def catch_up(self) -> bool:
        """Write the next events; False if there were none.  Raises if the view cannot be written now."""


class LogView:
    """Observer that keeps a view, called `name`, up to date while a sweep runs.  Call `close` after the sweep.

    The view is written at most every `interval` seconds, and only while this process holds the `lock`.
    """

    def __init__(
        self, name: str, make: Callable[[], Follower], interval: float = 0.5, lock: BaseFileLock | None = None
    ) -> None:
        self._lock = nullcontext() if lock is None else lock
        self.name, self._make, self._follower, self._interval = name, make, make(), interval
        self._arrived, self._finishing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"gensweep-{name}", daemon=True)

    def __call__(self, event: Event, state: SweepState) -> None:
        """Wake the thread."""
        self.wake()

    def wake(self) -> None:
        """Make the thread read the log."""
        if not self._thread.is_alive() and not self._finishing.is_set():
            self._thread.start()
        self._arrived.set()

    def close(self, timeout: float = 20.0) -> None:
        """Wait at most `timeout` seconds for the thread to write the last events."""
        self._finishing.set()
        self._arrived.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _follow(self) -> None:
        with self._lock:
            while True:
                finishing = self._finishing.is_set()
                self._arrived.clear()
                try:
                    has_more, pause = self._follower.catch_up(), self._interval
                except Exception as error:
                    logger.info("%s cannot be written now: %s", self.name, cause_of(error))
                    self._follower = self._make()
                    has_more, pause = not finishing, RETRY_SECONDS
                if has_more:
                    self._finishing.wait(pause)
                elif finishing:
                    return
                else:
                    self._arrived.wait(1.0)
