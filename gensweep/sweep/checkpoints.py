"""Checkpoint folders in a sweep's storage: a local or shared folder, or a URL such as s3://bucket/sweeps.

A folder that is there is whole: it is written aside, flushed, then renamed.  An object store has no rename; there a
folder counts only once its trial has reported it, which is after the last byte.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from gensweep.errors import GensweepError
from gensweep.files import replace_folder


def is_url(uri: str) -> bool:
    """True for s3://..., gs://... and the like; False for a path."""
    return "://" in uri


def checkpoint_uri(storage: str, trial: str, images: int) -> str:
    """Where a trial's checkpoint after some training images lies, path or URL."""
    return f"{storage.rstrip('/')}/checkpoints/{trial}/{images:012d}"


def store(folder: Path, uri: str) -> None:
    """Copy a local folder to `uri`, replacing what is there, all or nothing."""
    if is_url(uri):
        from pyarrow.fs import FileSystem, copy_files  # type: ignore[import-untyped]

        filesystem, path = FileSystem.from_uri(uri)
        with contextlib.suppress(OSError):  # an object store has no folders, and may not let us make one
            filesystem.create_dir(path, recursive=True)
        copy_files(str(folder), uri)
        return
    target = Path(uri)
    aside = _aside(target)
    shutil.copytree(folder, aside)
    replace_folder(aside, target)


def fetch(uri: str, cache: Path) -> Path:
    """The folder at `uri` on this machine: itself if it is local, else a copy in `cache`, which is made once."""
    if not is_url(uri):
        return Path(uri)
    copy = _cached(uri, cache)
    if not copy.is_dir():
        from pyarrow.fs import copy_files

        aside = _aside(copy)
        aside.mkdir()
        copy_files(uri, str(aside))
        aside.rename(copy)
    return copy


def delete(uri: str, cache: Path) -> None:
    """Remove a folder and its copy in `cache`; that it is gone already is fine."""
    if not is_url(uri):
        shutil.rmtree(uri, ignore_errors=True)
        return
    from pyarrow.fs import FileSystem

    filesystem, path = FileSystem.from_uri(uri)
    with contextlib.suppress(OSError):
        filesystem.delete_dir(path)
    shutil.rmtree(_cached(uri, cache), ignore_errors=True)


def check_visible(uri: str) -> None:
    """Raises GensweepError if a checkpoint that a worker wrote to a folder is not there on this machine."""
    if not is_url(uri) and not Path(uri).is_dir():
        raise GensweepError(
            f"a worker on another machine wrote {uri}, which this machine cannot read; give all machines the same "
            "storage: --storage with a shared folder or a URL such as s3://bucket/sweeps"
        )


def _cached(uri: str, cache: Path) -> Path:
    return cache / uri.rsplit("/", 1)[-1]


def _aside(target: Path) -> Path:
    """A name for the folder while it is incomplete, not taken, in a folder that exists."""
    aside = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    return aside
