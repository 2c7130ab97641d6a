"""What is to be done in a storage while a sweep runs, in a thread: training never waits for it.

The thread copies the log of events, pictures and logs of trials, renews the driver's claim, and deletes checkpoints of
no more use once the copy tells of the event that made them so.  A storage that is away holds nothing up: what is to be
done waits, and is tried again.
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
from gensweep.sweep.folder import LOGS, SweepFolder
from gensweep.sweep.ownership import RENEWAL_INTERVAL, Ownership, SweepElsewhereError
from gensweep.sweep.state import SweepState
from gensweep.sweep.stored_copy import StoredCopy

_log = logging.getLogger(__name__)

#: Seconds until the storage has what a trial says between two evaluations; it has everything else at once.
PUSH_INTERVAL = 5.0
#: Seconds before the second attempt while the storage is away; each later pause is twice as long.
FIRST_PAUSE = 1.0
#: Seconds between two attempts at most.
LONGEST_PAUSE = 15.0
#: Seconds that the end of a sweep waits for a storage that is away.
CLOSING_PATIENCE = 60.0


class Upkeep:
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
        """Copy an event at once, unless it is one of those that come all the time."""
        match event:
            case Evaluated(trial=trial, evaluation=evaluation):
                for file in self._folder.pictures(trial, evaluation.images):
                    self.later(partial(self._copy.store, file))
            case Lost(log=str(log)) | Ended(log=str(log)):
                self.later(partial(self._copy.store, self._folder.path / LOGS / Path(log).name))
        if not isinstance(event, Progressed | Paced):
            self._wake.set()

    def on_loss(self, hear: Callable[[SweepElsewhereError], None]) -> None:
        """Who hears, in the thread, that another driver has taken the sweep over."""
        self._hears_loss = hear

    def store_settings(self) -> None:
        """Copy the configuration, which has changed."""
        self.later(self._copy.store_settings)

    def later(self, action: Callable[[], None]) -> None:
        """Do something once the storage has the log as it is now; it is repeated while it raises OSError."""
        self._later.append((self._folder.log.size, action))
        self._wake.set()

    def close(self) -> int:
        """Finish, for at most a minute, and release the claim; returns how many bytes of the log are not stored."""
        self._finishing.set()
        self._wake.set()
        self._thread.join(CLOSING_PATIENCE + LONGEST_PAUSE)
        return self._copy.behind

    def _run(self) -> None:
        pause, deadline = 0.0, float("inf")
        while True:
            finishing = self._finishing.is_set()  # before the work: what comes later takes another round
            if finishing:
                deadline = min(deadline, time.monotonic() + CLOSING_PATIENCE)
            self._wake.clear()
            try:
                done = self._work()
                if pause:
                    _log.warning("the storage of %s answers again", self._folder.name)
                pause = 0.0
                if done and finishing:
                    self._ownership.renew(release=True)
                    return
            except SweepElsewhereError as error:
                self._hears_loss(error)
                return
            except Exception as error:
                if not pause:
                    _log.warning(
                        "the storage of %s does not answer; what is for it waits (%s)", self._folder.name, error
                    )
                if time.monotonic() > deadline:
                    return
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                if self._finishing.wait(pause):
                    time.sleep(FIRST_PAUSE)
                continue
            if done and not self._finishing.is_set():
                self._wake.wait(PUSH_INTERVAL)

    def _work(self) -> bool:
        """One round; whether there is nothing left to do."""
        if time.monotonic() - self._renewed >= RENEWAL_INTERVAL:
            self._ownership.renew()
            self._renewed = time.monotonic()
        self._copy.push()
        if not self._later or self._later[0][0] > self._copy.position:
            return not self._later
        self._later[0][1]()
        self._later.popleft()
        return not self._later
