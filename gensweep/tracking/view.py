"""Views of the log of a running sweep: a thread follows it, and training never waits for a server or a database."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Protocol

from filelock import BaseFileLock

from gensweep import plugins
from gensweep.files import write_text
from gensweep.sweep.events import Event
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.sweep_plan import SweepPlan
from gensweep.tracking.provenance import SHORT_HASH, git_state, provenance_tags
from gensweep.tracking.store import cause_of, store_name

logger = logging.getLogger(__name__)

#: Seconds before the second attempt while the server is away; each later pause is twice as long.
FIRST_PAUSE = 1.0
#: Seconds between two attempts at most.
LONGEST_PAUSE = 30.0


def with_provenance(
    plan: SweepPlan, folder: SweepFolder, config: Mapping[str, Any], argv: Sequence[str] | None = None
) -> SweepPlan:
    """The plan with where it comes from and where it shows.

    Into its folder goes what was changed since the commit, and the code of plug-ins.  `argv` is the command line, by
    default this process's.
    """
    state = git_state()
    if state is not None and state.dirty:
        write_text(folder.path / "git.diff", state.diff)
    for plugin in plugins.loaded():
        plugin.write(folder.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH])
    return replace(plan, store=store_name(), tags=provenance_tags(state, config, argv))


class Follower(Protocol):
    """What brings a view up to date with the log."""

    def catch_up(self) -> bool:
        """Write the next events; False if there were none.  Raises if the view cannot be written now."""

    def remaining(self) -> int:
        """How many events the view does not have."""


class LogView:
    """Observer that keeps a view, called `name`, up to date while a sweep runs.  Call `close` after the sweep.

    It is written every `interval` seconds at most, so that what comes fast costs little, and while nobody else has the
    `lock`, if there is one.
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
        """Have the thread look at the log."""
        if not self._thread.is_alive() and not self._finishing.is_set():
            self._thread.start()
            atexit.register(self.close)
        self._arrived.set()

    def close(self, timeout: float = 20.0) -> int:
        """Wait at most `timeout` seconds for the events to arrive; returns how many the view does not have."""
        if self._finishing.is_set() or not self._thread.is_alive():
            self._finishing.set()
            return 0
        atexit.unregister(self.close)
        self._finishing.set()
        self._arrived.set()
        self._thread.join(timeout)
        remaining = self._follower.remaining()
        if remaining:
            logger.warning("%s misses %d events; the next command sends them", self.name, remaining)
        return remaining

    def _follow(self) -> None:
        with self._lock:
            self._keep_up()

    def _keep_up(self) -> None:
        pause = 0.0
        while True:
            finishing = self._finishing.is_set()
            self._arrived.clear()
            try:
                if self._follower.catch_up():
                    pause = 0.0
                    self._finishing.wait(self._interval)
                    continue
            except Exception as error:
                if not pause:
                    logger.warning("%s does not answer; the log waits (%s)", self.name, cause_of(error))
                self._follower = self._make()
                if finishing:
                    return
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._finishing.wait(pause)
                continue
            if finishing:
                return
            self._arrived.wait(1.0)
