"""Files and folders that are replaced as a whole: after a crash the old one is there or the new one, never a part."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from gensweep.causes import file_problem
from gensweep.errors import GensweepError

#: Less free disk than so many GiB is too little: a sweep writes models of hundreds of MiB.
MIN_FREE_GIB = 2

#: Rights that a file or folder of ours gives to nobody else.
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def expanded(path: str | Path) -> Path:
    """A path whose first part may be ~ or ~user; one of a user that is unknown is taken as it is written."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def path_within(folder: Path, name: str, place: str) -> Path:
    """The path of a file whose name, relative to `folder`, comes from `place`, such as a storage that others can write.

    Raises GensweepError if the name is empty, absolute or has a drive letter, NUL or "..", or if a symbolic link on the
    way leads out of the folder.
    """
    path, parts = folder / name, PureWindowsPath(name)  # which splits at both slashes
    is_unsafe = not name or "\0" in name or bool(parts.anchor) or ".." in parts.parts
    if is_unsafe or Path(os.path.realpath(folder)) not in Path(os.path.realpath(path)).parents:
        raise GensweepError(f"{place} names a file {name!r}, which is outside of {folder}; nothing was written")
    return path


def write_for_owner_alone() -> None:
    """Let nobody else write in what this process makes from now on, whatever the umask of the shell."""
    os.umask(os.umask(WRITABLE_BY_OTHERS) | WRITABLE_BY_OTHERS)


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path to write at; what is there takes the place of `file` if nothing raises.  Its folder is made."""
    with naming(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
            aside = Path(folder) / file.name
            yield aside
            flush(aside)
            aside.replace(file)
        flush(file.parent)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Give an OSError that names no file, as those of a full disk, the name of this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(file)
        raise


def write_text(file: Path, text: str) -> None:
    """Replace a file's text; its folder is made if need be."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Replace a file's content; its folder is made if need be."""
    with replacing(file) as aside:
        aside.write_bytes(content)


def replace_folder(aside: Path, folder: Path) -> None:
    """Flush a folder that was written under another name and give it its own.

    A folder that has the name already gives way.  It is gone only once the new one is there, and comes back otherwise.
    """
    for file in aside.rglob("*"):
        flush(file)
    flush(aside)
    old = aside.with_name(f"{aside.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        aside.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def nearest_folder(path: Path) -> Path:
    """The path itself, or the nearest one above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def write_problem(folder: Path) -> str | None:
    """Why this process cannot write in a folder that is there or is to be made, and what to do; None if it can.

    Nothing is left of the try.
    """
    try:
        with TemporaryFile(dir=nearest_folder(folder.absolute())):
            return None
    except OSError as error:
        of_folder = OSError(error.errno, error.strerror, str(folder))  # and not of the file that was tried
        return file_problem(of_folder) or f"{folder} cannot be written ({error.strerror}); choose another folder"


def flush(path: Path) -> None:
    """Make the system write a file, or the names in a folder, to the disk: else a power cut may leave it torn."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parse_json(content: str | bytes) -> Any:
    """The value in a JSON document that others may have written.  Raises ValueError if it is none, however deep."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file's content, 64 hex digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
