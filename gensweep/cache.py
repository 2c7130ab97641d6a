"""The cache folder of fetched and derived data, in which one process at a time writes an entry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from gensweep.errors import GensweepError


def cache_folder() -> Path:
    """The folder for everything that can be fetched or computed anew.

    $GENSWEEP_CACHE, else $XDG_CACHE_HOME/gensweep, else ~/.cache/gensweep.  It need not exist.
    """
    root = os.environ.get("GENSWEEP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "gensweep"
    return Path(root).expanduser()


#: One item for each call of this process that waits for another process.
_waits: list[Path] = []


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process that writes `path`; the lock lies beside it.  Raises GensweepError if it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _waits.append(path)
        try:
            lock = FileLock(path.with_name(f".{path.name}.lock")).acquire()
        finally:
            _waits.remove(path)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    with lock:
        yield


def is_waiting() -> bool:
    """Whether this process waits for another one that writes an entry."""
    return bool(_waits)


def unwritable(folder: Path, error: Exception) -> GensweepError:
    """The error that says why nothing can be written in the cache folder."""
    return GensweepError(
        f"the cache folder {folder} cannot be written ({error}); set GENSWEEP_CACHE to a folder that can"
    )
