"""Checkpoint folders in a sweep's storage: a local or shared folder, or a URL such as s3://bucket/sweeps.

A folder that is there is whole: it is written aside, flushed, then renamed.  An object store has no rename; there a
folder counts only once its trial has reported it, which is after the last byte.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

__all__ = ["delete", "fetch", "is_url", "join", "persist"]


def is_url(place: str) -> bool:
    """True for s3://..., gs://... and the like; False for a path."""
    return "://" in place


def join(place: str, *parts: str) -> str:
    """`place` and sub-folders, path or URL."""
    return "/".join((place.rstrip("/"), *parts))


def persist(folder: Path, place: str) -> str:
    """Copy a local folder to `place`, replacing what is there, all or nothing.  Returns `place`."""
    if is_url(place):
        filesystem, path = _filesystem(place)
        from pyarrow.fs import LocalFileSystem, copy_files  # type: ignore[import-untyped]

        with contextlib.suppress(OSError):  # an object store has no folders, and may not let us make one
            filesystem.create_dir(path, recursive=True)
        copy_files(str(folder), path, source_filesystem=LocalFileSystem(), destination_filesystem=filesystem)
        return place
    target = Path(place)
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(folder, aside)
    for file in sorted(aside.rglob("*"), reverse=True):
        _flush(file)
    _flush(aside)
    if target.exists():
        shutil.rmtree(target)
    aside.rename(target)
    _flush(target.parent)
    return place


def fetch(place: str, folder: Path) -> Path:
    """The folder at `place` on this machine: itself if it is local, else a copy in `folder`."""
    if not is_url(place):
        return Path(place)
    from pyarrow.fs import LocalFileSystem, copy_files

    filesystem, path = _filesystem(place)
    folder.mkdir(parents=True, exist_ok=True)
    copy_files(path, str(folder), source_filesystem=filesystem, destination_filesystem=LocalFileSystem())
    return folder


def delete(place: str) -> None:
    """Remove a folder; that it is gone already is fine."""
    if is_url(place):
        filesystem, path = _filesystem(place)
        try:
            filesystem.delete_dir(path)
        except (FileNotFoundError, OSError):
            return
    else:
        shutil.rmtree(place, ignore_errors=True)


def _filesystem(place: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem

    filesystem, path = FileSystem.from_uri(place)
    return filesystem, path


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
