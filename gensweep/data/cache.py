"""The cache of fetched and derived data, which one process at a time writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from gensweep.errors import GensweepError

__all__ = ["cache_folder", "locked", "replacing"]


def cache_folder() -> Path:
    """The folder for everything that can be fetched or computed anew.

    $GENSWEEP_CACHE, else $XDG_CACHE_HOME/gensweep, else ~/.cache/gensweep.  It need not exist.
    """
    if own := os.environ.get("GENSWEEP_CACHE"):
        return Path(own).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "gensweep"
    return Path("~/.cache/gensweep").expanduser()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process that writes `path`; the lock lies beside it.

    Raises GensweepError if nothing can be written there.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise GensweepError(
            f"the cache folder {path.parent} cannot be written ({error}); set GENSWEEP_CACHE to a folder that can"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a temporary name that takes the place of `path` if nothing raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        written = Path(folder) / path.name
        yield written
        written.replace(path)
