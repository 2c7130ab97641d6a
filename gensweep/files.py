"""Files and folders that are replaced as a whole: after a crash the old one is there or the new one, never a part.

Also the cache folder, in which one process at a time writes an entry, and scratch folders: each is locked while its
process lives, as the system unlocks it however that ends, and removed by the next process that makes one.
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


def write_tensors(file: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file.  Raises OSError or SafetensorError if the disk does not take it."""
    from safetensors.torch import save_file

    file.touch()
    mode = file.stat().st_mode
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, file, None if metadata is None else dict(metadata))
    file.chmod(mode)  # safetensors lets nobody but the owner read what it writes


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


#: How the names of scratch folders begin, in the system's folder for temporary files.
SCRATCH_PREFIX = "gensweep-scratch-"


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """An empty folder for this process, which is removed at the end; `name` is for people who find it."""
    remove_dead_scratch()
    with ExitStack() as held:
        with _locked(_temporary()):  # so that none is removed before it is locked
            folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{name}-"))
            held.enter_context(_locked(folder))
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def remove_dead_scratch() -> None:
    """Remove this user's scratch folders whose processes have ended."""
    with _locked(_temporary()):
        for folder in _temporary().glob(f"{SCRATCH_PREFIX}*"):
            with suppress(OSError), _locked(folder, fcntl.LOCK_NB) as held:  # else its process lives
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
