"""What lies outside of the program when something fails: files, disks, databases, memory.  In plain words, one line."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gensweep.redaction import redact

#: What to do about an error of a file, by its number; FILE and REASON are replaced.
FILE_ADVICE = {
    errno.ENOSPC: "no space is left for FILE; make room there, or choose another folder",
    errno.EDQUOT: "your quota does not allow FILE; make room, or choose another folder",
    errno.EROFS: "FILE cannot be written: its file system is read-only; choose another folder",
    errno.ENOTDIR: "FILE cannot be made: a part of its path is a file; choose another path",
    errno.EMFILE: "this process has too many files open; raise the limit: ulimit -n 65536",
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENFILE), "FILE cannot be used (REASON); look at its disk"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
        "FILE cannot be used (REASON); change that, or choose another path",
    ),
}

#: SQLite's primary result codes for a database that cannot be used now, but is not damaged, and what to do.
UNAVAILABLE = {
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), "end the process that has it"),
    **dict.fromkeys((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR), "make room"),
    **dict.fromkeys(
        (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
        "make it and its folder writable",
    ),
}

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
            words = FILE_ADVICE[each.errno].replace("REASON", os.strerror(each.errno).lower())
            return words.replace("FILE", "a file" if file is None else _with_room(file, each.errno))
    return None


def _with_room(file: Path, number: int) -> str:
    """The file, and how much is free there if its disk is full."""
    if number != errno.ENOSPC:
        return str(file)
    folder = next(each for each in file.parents if each.is_dir())
    return f"{file} ({shutil.disk_usage(folder).free / 2**20:,.0f} MiB are free)"


def database_problem(error: BaseException) -> str | None:
    """What SQLite said, and what to do, if a database cannot be used now; None if it is damaged, or for others."""
    for each in chain(error):
        code = getattr(each, "sqlite_errorcode", 0) & 0xFF
        if isinstance(each, sqlite3.Error) and code in UNAVAILABLE:
            return f"({redact(str(each))}); {UNAVAILABLE[code]}"
    return None


def memory_problem(error: BaseException) -> str | None:
    """What ran out of memory, in one line, if that is the cause of an error: a GPU, or the machine."""
    for each in chain(error):
        line = str(each).partition("\n")[0]
        if type(each).__name__ == "OutOfMemoryError" and type(each).__module__.startswith("torch"):
            return f"the GPU is out of memory ({line.partition('. GPU')[0]})"
        if (
            isinstance(each, MemoryError)
            or "can't allocate memory" in line
            or getattr(each, "errno", None) == errno.ENOMEM
        ):
            return "this machine is out of memory"
    return None


def plain_cause(error: BaseException) -> str | None:
    """What an error that is no defect of the program says to a person, with the next thing to do; None for a defect."""
    if (words := file_problem(error)) is not None:
        return words
    if (memory := memory_problem(error)) is not None:
        return f"{memory}; end other programs, or ask for less at a time (--batch, --set evaluation.batch_size=N)"
    if (locked := database_problem(error)) is not None:
        return f"a database cannot be used {locked}, and run the command again"
    for each in chain(error):
        module, line = type(each).__module__, redact(str(each)).partition("\n")[0][:LONGEST_CAUSE]
        if module.startswith("ray.") and module.endswith("exceptions"):
            return (
                f"a process of Ray was lost ({line}); if the cluster at RAY_ADDRESS still runs (ray status), run the "
                "command again"
            )
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
