"""Scratch folders that do not outlive their process for long, also if it is killed.

Each is locked while its process lives, as the system unlocks it however that ends.  Whoever makes a scratch folder, or
ends a sweep, removes those that nobody holds any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: How the names of scratch folders begin, in the system's folder for temporary files.
PREFIX = "gensweep-scratch-"
#: Seconds from making a folder to locking it, at most; a process that took longer was killed in between.
LOCKING_SECONDS = 60.0


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """An empty folder for this process, which is removed at the end; `name` is for people who find it."""
    remove_dead_scratch()
    aside = Path(tempfile.mkdtemp(prefix=f".{PREFIX}{name}-"))
    held = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        folder = aside.rename(aside.with_name(aside.name.removeprefix(".")))  # only once it is locked
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


def remove_dead_scratch() -> None:
    """Remove this user's scratch folders whose processes have ended."""
    for folder in _folders():
        try:
            held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue  # it has just gone, or is not ours
        try:
            if os.fstat(held).st_uid == os.getuid():
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # its process lives
        finally:
            os.close(held)


def _folders() -> Iterator[Path]:
    """The scratch folders of this machine, and those that were not locked in time."""
    temporary = Path(tempfile.gettempdir())
    yield from temporary.glob(f"{PREFIX}*")
    for aside in temporary.glob(f".{PREFIX}*"):
        with suppress(OSError):
            if time.time() - aside.stat().st_mtime > LOCKING_SECONDS:
                yield aside


@contextmanager
def removing_dead_scratch() -> Iterator[None]:
    """Remove at the end what processes have left that were killed inside."""
    try:
        yield
    finally:
        remove_dead_scratch()
