"""What lies outside of the program when something fails: files, disks, databases, memory.  In plain words, one line."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gensweep.redaction import redact

#: What to do about an error of a file, by its number; FILE stands for the file, FOLDER for that it lies in.
FILE_ADVICE = {
    errno.ENOSPC: "no space is left for FILE (FREE); make room there, or choose another folder",
    errno.EDQUOT: "your quota does not allow FILE; make room, or choose another folder",
    errno.EROFS: "FILE cannot be written: its file system is read-only; mount it otherwise, or choose another folder",
    errno.EACCES: "FILE may not be used by this user (permission denied); change the rights of FOLDER, or take another",
    errno.EPERM: "FILE may not be changed (operation not permitted); change the rights of FOLDER, or choose another",
    errno.EIO: "FILE cannot be read or written (input/output error); look at its disk",
    errno.ESTALE: "FILE is gone from its server (stale file handle); mount FOLDER again",
    errno.EMFILE: "this process has too many files open; raise the limit: ulimit -n 65536",
    errno.ENFILE: "this machine has too many files open; end other programs",
    errno.ENOTDIR: "FILE cannot be made: a part of its path is a file; choose another path",
    errno.EEXIST: "FILE cannot be made: something else of that name is there; choose another path",
    errno.EISDIR: "FILE is a folder; choose another path",
    errno.ENAMETOOLONG: "FILE has too long a name; choose a shorter path",
    errno.ELOOP: "FILE is a link that leads to itself; choose another path",
}

#: SQLite's primary result codes for a database that cannot be used now, but is not damaged.
UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "end the process that has it",
    sqlite3.SQLITE_LOCKED: "end the process that has it",
    sqlite3.SQLITE_FULL: "make room",
    sqlite3.SQLITE_IOERR: "make room, or mend the disk",
    sqlite3.SQLITE_READONLY: "make it and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "make it and its folder writable",
    sqlite3.SQLITE_PERM: "make it and its folder writable",
    sqlite3.SQLITE_AUTH: "make it and its folder writable",
}

#: A disk with less free space than this counts as full.
FULL_BYTES = 2**20

#: Characters that are shown of what a library says.
LONGEST_CAUSE = 300


def file_problem(error: BaseException, likely: Path | None = None) -> str | None:
    """What to do about an error that a file or disk is the cause of, in one line; None for any other.

    If it names no file it is taken to be the `likely` one.
    """
    for each in chain(error):
        if isinstance(each, OSError) and each.errno in FILE_ADVICE:
            name = each.filename if each.filename2 is None else each.filename2  # where a copy was to go
            file = Path(os.fsdecode(name)).absolute() if isinstance(name, str | bytes) else likely
            words = FILE_ADVICE[each.errno].replace("FREE", _free(file))
            return words.replace("FILE", str(file or "a file")).replace("FOLDER", str(file.parent if file else "it"))
    return None


def database_problem(error: BaseException) -> sqlite3.Error | None:
    """What SQLite said, if an error was raised because a database cannot be used now; None if it is damaged."""
    for each in chain(error):
        if isinstance(each, sqlite3.Error) and primary_code(each) in UNAVAILABLE:
            return each
    return None


def memory_problem(error: BaseException) -> str | None:
    """What ran out of memory, in one line, if that is the cause of an error: a GPU, or the machine."""
    for each in chain(error):
        line = str(each).partition("\n")[0]
        if type(each).__name__ == "OutOfMemoryError" and type(each).__module__.startswith("torch"):
            return f"the GPU is out of memory ({line.partition('. GPU')[0]})"
        if isinstance(each, MemoryError) or "can't allocate memory" in line or _errno(each) == errno.ENOMEM:
            return "this machine is out of memory"
    return None


def plain_cause(error: BaseException) -> str | None:
    """What an error that is no defect of the program says to a person, with the next thing to do; None for a defect."""
    if (words := file_problem(error)) is not None:
        return words
    if (memory := memory_problem(error)) is not None:
        return f"{memory}; end other programs, or ask for less at a time (--batch, --set evaluation.batch_size=N)"
    if (locked := database_problem(error)) is not None:
        return f"a database cannot be used ({locked}); {UNAVAILABLE[primary_code(locked)]}, and run the command again"
    for each in chain(error):
        module, line = type(each).__module__, redact(str(each)).partition("\n")[0][:LONGEST_CAUSE]
        if module.startswith("ray.") and module.endswith("exceptions"):
            return (
                f"a process of Ray was lost ({line}); if the cluster at RAY_ADDRESS still runs (ray status), run the "
                "command again"
            )
    return None


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's number for a kind of error."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _free(file: Path | None) -> str:
    """How much is free where a file was to be; of one that nobody knows, which disks are full."""
    if file is not None:
        folder = next(each for each in file.parents if each.is_dir())
        return f"{shutil.disk_usage(folder).free / 2**20:,.0f} MiB are free"
    usual = (Path.cwd(), Path(tempfile.gettempdir()), Path.home())
    full = [str(folder) for folder in usual if folder.is_dir() and shutil.disk_usage(folder).free < FULL_BYTES]
    return f"full: {', '.join(full)}" if full else "its disk is full"
