"""Send missing records of sweeps to MLflow.  MLflow is a copy: if it fails, one line on stderr reports that."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from gensweep.errors import GensweepError
from gensweep.sweep.events import SessionEnded
from gensweep.sweep.folder import SweepFolder, SweepInUseError
from gensweep.tracking.store import cause_of, database_is_missing, store_name
from gensweep.tracking.sweep_copy import Sent, SweepCopy

logger = logging.getLogger(__name__)

#: Most seconds that a reading command spends on sending, and events between two checks of the clock.
PATIENCE, STEP = 3.0, 10
#: Seconds to wait for another process that sends the same sweep.
LOCK_SECONDS = 2.0


def sync(folder: SweepFolder) -> bool:
    """Send missing records of a sweep to the current store; True if it then has all of them.  Never raises."""
    return _send_all([folder], math.inf)


def sync_all(root: Path) -> None:
    """Send the missing records of all sweeps below a folder.  Never raises; imports MLflow only if some are missing."""
    folders = list[SweepFolder]()
    for file in sorted(root.glob("*/events.jsonl")):
        with suppress(GensweepError):  # not a sweep's folder
            folders.append(SweepFolder(root, file.parent.name))
    _send_all(list(filter(_may_lack, folders)), time.monotonic() + PATIENCE)


def _may_lack(folder: SweepFolder) -> bool:
    """True if the current store is the sweep's and may lack records."""
    sent, missing = Sent.read(folder), database_is_missing()
    if not sent.store:  # never sent: reading another project's sweeps must not create a database here
        return not missing or folder.path.parent.parent == Path.cwd()
    return sent.store == store_name(folder.path) and (missing or sent.running or sent.position != folder.log.size)


def _send_all(folders: Sequence[SweepFolder], deadline: float) -> bool:
    for folder in folders:
        try:
            send(folder, deadline)
        except Exception as error:
            logger.debug("%s", folder.path, exc_info=True)
            place = os.path.relpath(folder.path)
            sys.stderr.write(f"MLflow is not up to date ({cause_of(error)}); the sweep itself is complete in {place}\n")
            return False
    return True


def send(folder: SweepFolder, deadline: float = math.inf) -> None:
    """Send missing records, unless a driver does.  Raises GensweepError if some are left at the end."""
    try:
        with folder.locked():
            if folder.state().status == "running":
                folder.log.append(SessionEnded("interrupted", "its driver was lost"))
    except SweepInUseError:
        return
    try:
        alone = folder.copy_lock().acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise GensweepError("another process or thread is still sending records") from None
    with alone:
        copy = SweepCopy(folder)
        while copy.catch_up(500 if deadline == math.inf else STEP):
            if time.monotonic() > deadline and (left := folder.log.size - Sent.read(folder).position):
                raise GensweepError(f"{left / 1000:,.0f} kB of the log are still to send; the next command continues")
