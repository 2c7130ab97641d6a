"""Checkpoint folders in a sweep's storage: a local or shared folder, or a URL such as s3://bucket/sweeps.

A folder that is there is whole: it is written aside, flushed, then renamed.  An object store has no rename; there a
folder counts only once its trial has reported it, which is after the last byte.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from gensweep.files import replace_folder

__all__ = ["delete", "fetch", "is_url", "join", "persist"]


def is_url(uri: str) -> bool:
    """True for s3://..., gs://... and the like; False for a path."""
    return "://" in uri


def join(uri: str, *parts: str) -> str:
    """`uri` and sub-folders, path or URL."""
    return "/".join((uri.rstrip("/"), *parts))


def persist(folder: Path, uri: str) -> str:
    """Copy a local folder to `uri`, replacing what is there, all or nothing.  Returns `uri`."""
    if is_url(uri):
        filesystem, path = _filesystem(uri)
        from pyarrow.fs import LocalFileSystem, copy_files  # type: ignore[import-untyped]

        with contextlib.suppress(OSError):  # an object store has no folders, and may not let us make one
            filesystem.create_dir(path, recursive=True)
        copy_files(str(folder), path, source_filesystem=LocalFileSystem(), destination_filesystem=filesystem)
        return uri
    target = Path(uri)
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(folder, aside)
    replace_folder(aside, target)
    return uri


def fetch(uri: str, folder: Path) -> Path:
    """The folder at `uri` on this machine: itself if it is local, else a copy in `folder`."""
    if not is_url(uri):
        return Path(uri)
    from pyarrow.fs import LocalFileSystem, copy_files

    filesystem, path = _filesystem(uri)
    folder.mkdir(parents=True, exist_ok=True)
    copy_files(path, str(folder), source_filesystem=filesystem, destination_filesystem=LocalFileSystem())
    return folder


def delete(uri: str) -> None:
    """Remove a folder; that it is gone already is fine."""
    if is_url(uri):
        filesystem, path = _filesystem(uri)
        try:
            filesystem.delete_dir(path)
        except (FileNotFoundError, OSError):
            return
    else:
        shutil.rmtree(uri, ignore_errors=True)


def _filesystem(uri: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem

    filesystem, path = FileSystem.from_uri(uri)
    return filesystem, path
