"""Causes of external failures (files, disks, databases, memory), in one plain line each."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gensweep.errors import OutsideError
from gensweep.redaction import redact

#: Message and remedy for an error of a file, by errno; FILE and REASON are replaced.
FILE_ADVICE = {
    errno.ENOSPC: "no space is left for FILE; free some space, or choose another folder",
    errno.EDQUOT: "your disk quota is too small for FILE; free some space, or choose another folder",
    errno.EROFS: "FILE cannot be written: its file system is read-only; choose another folder",
    errno.ENOTDIR: "FILE cannot be created: a part of its path is a file; choose another path",
    errno.EMFILE: "this process has too many files open; raise the limit: ulimit -n 65536",
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENFILE), "FILE cannot be used (REASON); check its disk"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
        "FILE cannot be used (REASON); fix that, or choose another path",
    ),
}

#: Most characters quoted from a library's message.
LONGEST_CAUSE = 300


def file_problem(error: BaseException, likely: Path | None = None) -> str | None:
    """Cause and remedy of a file or disk error, in one line; None for any other error.

    An error without a file name is attributed to the file `likely`.
    """
    for each in chain(error):
        if isinstance(each, OSError) and each.errno in FILE_ADVICE:
            name = each.filename if each.filename2 is None else each.filename2  # the target of a copy
            file = Path(os.fsdecode(name)).absolute() if isinstance(name, str | bytes) else likely
            words = FILE_ADVICE[each.errno].replace("REASON", os.strerror(each.errno).lower())
            return words.replace("FILE", "a file" if file is None else str(file))
    return None


def database_problem(error: BaseException) -> str | None:
    """SQLite's message and a remedy, if an intact database cannot be used now; None for other errors."""
    for each in chain(error):
        code = getattr(each, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if isinstance(each, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
            return (
                f"({redact(str(each))}); stop the process that uses it, free space, or make it and its folder writable"
            )
    return None


def memory_problem(error: BaseException) -> str | None:
    """The memory that ran out, of a GPU or of the machine, if that caused an error; else None."""
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
    """The cause of an error and the next step, for the user; None for a bug of gensweep."""
    if (words := file_problem(error)) is not None:
        return words
    if (memory := memory_problem(error)) is not None:
        return f"{memory}; end other programs, or use smaller batches (--batch, --set evaluation.batch_size=N)"
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


def is_outside(error: BaseException | None) -> bool:
    """True if the cause of an error is external: files, network, storage."""
    return any(isinstance(each, OutsideError | OSError) for each in chain(error))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its chain of causes."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
