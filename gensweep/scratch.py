"""Scratch folders that do not outlive their process for long, also if it is killed.

Each is locked while its process lives, as the system unlocks it however that ends.  Whoever makes a scratch folder, or
ends a sweep, removes those that nobody holds any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: How the names of scratch folders begin, in the system's folder for temporary files.
PREFIX = "gensweep-scratch-"


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """An empty folder for this process, which is removed at the end; `name` is for people who find it."""
    remove_dead_scratch()
    with _locked(Path(tempfile.gettempdir()).resolve(), fcntl.LOCK_EX):  # so that none is removed before it is locked
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-"))
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def remove_dead_scratch() -> None:
    """Remove this user's scratch folders whose processes have ended."""
    temporary = Path(tempfile.gettempdir()).resolve()
    with _locked(temporary, fcntl.LOCK_EX):
        for folder in temporary.glob(f"{PREFIX}*"):
            with suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:  # its process lives
                if os.fstat(held).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[int]:
    held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        fcntl.flock(held, how)
        yield held
    finally:
        os.close(held)


@contextmanager
def removing_dead_scratch() -> Iterator[None]:
    """Remove at the end what processes have left that were killed inside."""
    try:
        yield
    finally:
        remove_dead_scratch()
