"""MLflow as a view of the logs: a thread that follows the log of a running sweep, and `sync` for all others.

The sweep itself only writes its log, so training never waits for a tracking server.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gensweep.errors import GensweepError
from gensweep.files import write_text
from gensweep.sweep.events import Created, Event, SessionEnded
from gensweep.sweep.folder import SweepFolder, SweepInUseError
from gensweep.sweep.plan import Plan
from gensweep.sweep.state import SweepState
from gensweep.tracking.provenance import git_state, provenance_tags, redact
from gensweep.tracking.rendering import POSITION, SWEEP_ID
from gensweep.tracking.replay import Replay
from gensweep.tracking.store import check_server, client, experiment_id, store_name

__all__ = ["MlflowView", "sync", "sync_all", "with_provenance"]

logger = logging.getLogger(__name__)

#: Seconds between two attempts while the server is away: the first pause, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


def with_provenance(
    plan: Plan, folder: SweepFolder, config: Mapping[str, Any], argv: Sequence[str] | None = None
) -> Plan:
    """The plan with where it comes from and where it shows; what was changed since the commit goes into its folder.

    `argv` is the command line, by default this process's.
    """
    state = git_state()
    if state is not None and state.dirty:
        write_text(folder.path / "git.diff", state.diff)
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
            logger.warning("MLflow misses %d events of %s; any later command sends them", remaining, self._folder.name)
        return remaining

    def __enter__(self) -> MlflowView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
                    logger.warning("MLflow does not answer; the log waits (%s)", redact(str(error))[:300])
                self._replay = Replay(self._folder)
                if finishing:
                    return
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._finishing.wait(pause)
                continue
            if finishing:
                return
            self._arrived.wait(1.0)


def sync(folder: SweepFolder, timeout: float = 20.0) -> int:
    """Bring MLflow up to date with a sweep's log; returns how many events it still misses.

    A session whose driver was lost is ended in the log first.  Nothing is done for a sweep that is running, since its
    driver does it, or one that belongs to another store.  Raises GensweepError if MLflow does not take the events.
    """
    from mlflow.exceptions import MlflowException

    try:
        with folder.locked():
            state = folder.state()
            if state.status == "running":
                folder.log.append(SessionEnded("interrupted", "its driver was lost"))
            if not state.sessions or state.sessions[-1].store not in ("", store_name()):
                return 0
            check_server()
            replay, deadline = Replay(folder), time.monotonic() + timeout
            while replay.catch_up() and time.monotonic() < deadline:
                pass
            return replay.remaining()
    except SweepInUseError:
        return 0
    except (MlflowException, OSError) as error:
        cause = redact(str(error)).strip().partition("\n")[0][:300]
        raise GensweepError(
            f"MLflow did not take what is new in {folder.path} ({cause}); the next command sends it"
        ) from error


def sync_all(root: Path) -> int:
    """`sync` every sweep below a folder that needs it; returns how many still miss events.  Never raises."""
    logs = sorted(root.glob("*/events.jsonl"))
    remaining = 0
    try:
        current = _up_to_date() if logs else {}
    except Exception as error:
        logger.warning("MLflow cannot be asked how far it is: %s", redact(str(error))[:300])
        return len(logs)
    for file in logs:
        try:
            folder = SweepFolder(root, file.parent.name)
            first = next(folder.log.read(), None)
            created = None if first is None else first.event
            if isinstance(created, Created) and current.get(created.sweep_id) != folder.log.size:
                remaining += sync(folder) > 0
        except Exception as error:
            remaining += 1
            logger.warning("MLflow could not be brought up to date with %s: %s", file.parent, redact(str(error))[:300])
    return remaining


def _up_to_date() -> dict[str, int]:
    """How far MLflow is with each sweep that is not running, by its id."""
    store = client()
    experiment = experiment_id(store, create=False)
    found: dict[str, int] = {}
    token: str | None = None
    while experiment is not None:
        query = "tags.`gensweep.kind` = 'sweep' and tags.`gensweep.status` != 'running'"
        page = store.search_runs([experiment], query, max_results=1000, page_token=token)
        for run in page:
            found[run.data.tags.get(SWEEP_ID, "")] = int(run.data.tags.get(POSITION, "0"))
        token = page.token
        if not token:
            break
    return found
