"""MLflow as a view of the log of a running sweep: a thread follows it, and training never waits for a server."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gensweep import plugins
from gensweep.files import write_text
from gensweep.sweep.events import Event
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.sweep_plan import SweepPlan
from gensweep.tracking.provenance import SHORT_HASH, git_state, provenance_tags
from gensweep.tracking.replay import Replay
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


class MlflowView:
    """Observer that keeps MLflow up to date while a sweep runs.  Call `close` after the sweep."""

    def __init__(self, folder: SweepFolder) -> None:
        self._replay, self._folder = Replay(folder), folder
        self._arrived, self._finishing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="gensweep-tracking", daemon=True)

    def __call__(self, event: Event, state: SweepState) -> None:
        """Wake the thread."""
        if not self._thread.is_alive() and not self._finishing.is_set():
            self._thread.start()
            atexit.register(self.close)
        self._arrived.set()

    def close(self, timeout: float = 20.0) -> int:
        """Wait at most `timeout` seconds for the events to arrive; returns how many MLflow does not have."""
        if self._finishing.is_set() or not self._thread.is_alive():
            self._finishing.set()
            return 0
        atexit.unregister(self.close)
        self._finishing.set()
        self._arrived.set()
        self._thread.join(timeout)
        remaining = self._replay.remaining()
        if remaining:
            logger.warning("MLflow misses %d events of %s; the next command sends them", remaining, self._folder.name)
        return remaining

    def _follow(self) -> None:
        pause = 0.0
        while True:
            finishing = self._finishing.is_set()
            self._arrived.clear()
            try:
                if self._replay.catch_up():
                    pause = 0.0
                    continue
            except Exception as error:
                if not pause:
                    logger.warning("MLflow does not answer; the log waits (%s)", cause_of(error))
                self._replay = Replay(self._folder)
                if finishing:
                    return
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._finishing.wait(pause)
                continue
            if finishing:
                return
            self._arrived.wait(1.0)
