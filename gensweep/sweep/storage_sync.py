"""Copy a running sweep to its storage in a thread, so that training never waits for it.

The thread copies events, pictures and logs of trials and renews the driver's claim.  It deletes unused checkpoints
once the storage has the event that made them unused.  While the storage is unreachable, the work waits and is retried.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gensweep.sweep.events import Ended, Evaluated, Event, Lost, Paced, Progressed
from gensweep.sweep.folder import LOGS, SETTINGS_FILE, SweepFolder
from gensweep.sweep.ownership import RENEWAL_INTERVAL, Ownership, SweepElsewhereError
from gensweep.sweep.state import SweepState
from gensweep.sweep.stored_copy import StoredCopy

_log = logging.getLogger(__name__)

#: Seconds until metrics between two evaluations are in the storage; other events are copied at once.
PUSH_INTERVAL = 5.0
#: Seconds before the second attempt while the storage is unreachable; each later pause is twice as long.
FIRST_PAUSE = 1.0
#: Longest pause between two attempts, in seconds.
LONGEST_PAUSE = 15.0
#: Seconds for which the end of a sweep waits for an unreachable storage.
CLOSING_PATIENCE = 60.0


class StorageSync:
    """The thread, and the observer that wakes it."""

    def __init__(self, folder: SweepFolder, copy: StoredCopy, ownership: Ownership) -> None:
        self._folder, self._copy, self._ownership = folder, copy, ownership
        self._later: deque[tuple[int, Callable[[], None]]] = deque()
        self._renewed = time.monotonic()
        self._wake, self._finishing = threading.Event(), threading.Event()
        self._hears_loss: Callable[[SweepElsewhereError], None] = lambda error: None
        self._thread = threading.Thread(target=self._run, name="gensweep-storage", daemon=True)
        self._thread.start()

    def __call__(self, event: Event, state: SweepState) -> None:
        """Copy an event at once, unless it is a frequent one."""
        match event:
            case Evaluated(trial=trial, evaluation=evaluation):
                for file in self._folder.pictures(trial, evaluation.images):
                    self.later(partial(self._copy.store, file))
            case Lost(log=str(log)) | Ended(log=str(log)):
                self.later(partial(self._copy.store, self._folder.path / LOGS / Path(log).name))
        if not isinstance(event, Progressed | Paced):
            self._wake.set()

    def on_loss(self, hear: Callable[[SweepElsewhereError], None]) -> None:
        """Called, in the thread, when another driver has taken the sweep over."""
        self._hears_loss = hear

    def store_settings(self) -> None:
        """Copy the changed configuration."""
        self.later(partial(self._copy.store, self._folder.path / SETTINGS_FILE))

    def later(self, action: Callable[[], None]) -> None:
        """Call `work` once the storage has the current log; retry on OSError."""
        self._later.append((self._folder.log.size, action))
        self._wake.set()

    def close(self) -> int:
        """Finish, for at most a minute, and release the claim; returns the number of log bytes not stored."""
        self._finishing.set()
        self._wake.set()
        self._thread.join(CLOSING_PATIENCE + LONGEST_PAUSE)
        return self._copy.behind

    def _run(self) -> None:
        pause, deadline = 0.0, float("inf")
        while True:
            finishing = self._finishing.is_set()  # read first: later events need another round
            if finishing:
                deadline = min(deadline, time.monotonic() + CLOSING_PATIENCE)
            self._wake.clear()
            try:
                done = self._work()
                if pause:
                    _log.warning("the storage of %s is reachable again", self._folder.name)
                pause = 0.0
                if done and finishing:
                    self._ownership.renew(release=True)
                    return
            except SweepElsewhereError as error:
                self._hears_loss(error)
                return
            except Exception as error:
                if not pause:
                    _log.warning("the storage of %s is not reachable; copying waits (%s)", self._folder.name, error)
                if time.monotonic() > deadline:
                    return
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                if self._finishing.wait(pause):
                    time.sleep(FIRST_PAUSE)
                continue
            if done and not self._finishing.is_set():
                self._wake.wait(PUSH_INTERVAL)

    def _work(self) -> bool:
        """One round; True if nothing is left to do."""
        if time.monotonic() - self._renewed >= RENEWAL_INTERVAL:
            self._ownership.renew()
            self._renewed = time.monotonic()
        self._copy.push()
        if not self._later or self._later[0][0] > self._copy.position:
            return not self._later
        self._later[0][1]()
        self._later.popleft()
        return not self._later
