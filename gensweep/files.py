"""Files and folders that are replaced as a whole: a crash leaves the old one or the new one, never a part.

Also the cache folder, in which one process at a time writes an entry, and scratch folders.  Each process locks its
scratch folder; the system releases the lock when it ends, and a later process removes the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from filelock import FileLock

from gensweep.causes import file_problem
from gensweep.errors import GensweepError

#: Least free disk space in GiB: a sweep writes models of hundreds of MiB.
MIN_FREE_GIB = 2

#: Permission bits that exclude other users.
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def expanded(path: str | Path) -> Path:
    """A path whose first part may be ~ or ~user; an unknown user's path stays."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def path_within(folder: Path, name: str, place: str) -> Path:
    """The path of a file whose name, relative to `folder`, comes from an untrusted `place`, such as a storage.

    Raises GensweepError if the name is empty, absolute or has a drive letter, NUL or "..", or if a symbolic link leads
    outside the folder.
    """
    path, parts = folder / name, PureWindowsPath(name)  # splits at both slashes
    is_unsafe = not name or "\0" in name or bool(parts.anchor) or ".." in parts.parts
    if is_unsafe or Path(os.path.realpath(folder)) not in Path(os.path.realpath(path)).parents:
        raise GensweepError(f"{place} names a file {name!r}, outside {folder}; nothing was written")
    return path


def write_for_owner_alone() -> None:
    """Make new files of this process unwritable for other users, regardless of the shell's umask."""
    os.umask(os.umask(WRITABLE_BY_OTHERS) | WRITABLE_BY_OTHERS)


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path to write to; it replaces `file` if nothing raises.  Creates the folder."""
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
    """Add the file name to an OSError that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(file)
        raise


def write_text(file: Path, text: str) -> None:
    """Replace a file's text; creates its folder."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Replace a file's content; creates its folder."""
    with replacing(file) as aside:
        aside.write_bytes(content)


def write_tensors(file: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file.  Raises OSError or SafetensorError if that fails."""
    from safetensors.torch import save_file

    file.touch()
    mode = file.stat().st_mode
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, file, None if metadata is None else dict(metadata))
    file.chmod(mode)  # safetensors creates files that only the owner can read


def replace_folder(aside: Path, folder: Path) -> None:
    """Flush a folder that was written under another name, and rename it.

    An existing folder of that name is replaced, and restored if that fails.
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
    """The path, or its nearest existing parent."""
    return next(each for each in (path, *path.parents) if each.exists())


def write_problem(folder: Path) -> str | None:
    """Why this process cannot write in an existing or new folder, with a remedy; None if it can.  Leaves no files."""
    try:
        with TemporaryFile(dir=nearest_folder(folder.absolute())):
            return None
    except OSError as error:
        of_folder = OSError(error.errno, error.strerror, str(folder))  # not of the test file
        return file_problem(of_folder) or f"{folder} cannot be written ({error.strerror}); choose another folder"


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk, so that a power cut cannot truncate it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parse_json(content: str | bytes) -> Any:
    """The value in an untrusted JSON document.  Raises ValueError if it is invalid or nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file's content, 64 hex digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def cache_folder() -> Path:
    """The folder for everything that can be downloaded or computed again.

    $GENSWEEP_CACHE, else $XDG_CACHE_HOME/gensweep, else ~/.cache/gensweep.  It need not exist.
    """
    root = os.environ.get("GENSWEEP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "gensweep"
    return Path(root).expanduser()


#: One item for each call of this process that waits for another process.
_waits: list[Path] = []


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock `path` for writing, by a file next to it.  Raises GensweepError if the lock cannot be created."""
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
    """True if this process waits until another one has written a cache entry."""
    return bool(_waits)


def unwritable(folder: Path, error: Exception) -> GensweepError:
    """The error if the cache folder is not writable."""
    return GensweepError(
        f"the cache folder {folder} cannot be written ({error}); set GENSWEEP_CACHE to a writable folder"
    )


#: Prefix of scratch folders in the system's temporary folder.
SCRATCH_PREFIX = "gensweep-scratch-"


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """An empty folder for this process, removed at the end; `name` describes it to people."""
    remove_dead_scratch()
    with ExitStack() as held:
        with _locked(_temporary()):  # so that no process removes it before it is locked
            folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{name}-"))
            held.enter_context(_locked(folder))
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def remove_dead_scratch() -> None:
    """Remove this user's scratch folders whose processes have ended."""
    with _locked(_temporary()):
        for folder in _temporary().glob(f"{SCRATCH_PREFIX}*"):
            with suppress(OSError), _locked(folder, fcntl.LOCK_NB) as held:  # otherwise its process is running
                if os.fstat(held).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> Path:
    return Path(tempfile.gettempdir()).resolve()


@contextmanager
def _locked(folder: Path, further: int = 0) -> Iterator[int]:
    held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | further)
        yield held
    finally:
        os.close(held)
