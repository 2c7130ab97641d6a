"""The log of a sweep: an append-only file of events, the source of truth besides configuration and checkpoints.

One event is one line of JSON, flushed to disk before it takes effect.  A crash can truncate only the last line, and a
truncated line is ignored.  Each line ends with its checksum, which detects values changed on disk.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gensweep.errors import GensweepError
from gensweep.files import parse_json
from gensweep.sweep.continuation import continue_command
from gensweep.sweep.events import Entered, Event, Noted, Paced, Progressed, Scaled, Suggested, from_record, to_record

VERSION = 4
#: Bytes at the end of a record that identify it, checksum included.
MARK_BYTES = 64
#: Bytes that a power cut or an editor may leave after the last line.
_BLANK = b"\0\r\n\t "
#: Events that two processes may report in the same millisecond; a repetition is harmless.
_REPEATABLE = (Entered, Noted, Paced, Progressed, Scaled)
_CHECKSUM = re.compile(rb',"crc32":(\d+)}\n$')


class DamagedLogError(GensweepError):
    """A line of a log is unreadable or repeated."""

    def __init__(self, file: Path, position: int, problem: object) -> None:
        self.damage = f"{file} is damaged at byte {position} ({problem})"
        super().__init__(f"{self.damage}; restore it from a backup, or begin a new sweep with --name")


class LogEntry(NamedTuple):
    """An event, its time (milliseconds since 1970) and the position after it, in bytes."""

    event: Event
    time: int
    end: int


class EventLog:
    """The log in a file.  Any process may read it at any time, and several may append."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def size(self) -> int:
        """Bytes; 0 if there is no log."""
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def version(self) -> tuple[int, int]:
        """Size and modification time (nanoseconds); data from the log is valid while these are the same."""
        if not self.file.exists():
            return 0, 0
        found = self.file.stat()
        return found.st_size, found.st_mtime_ns

    def append(self, event: Event) -> LogEntry:
        """Append an event and flush it to disk.  Raises GensweepError if that fails.

        Metrics between two evaluations are not flushed: a power cut may lose them, a crash does not.
        """
        now = int(time.time() * 1000)
        line = _line({"v": VERSION, "time": now} | to_record(event))
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab+", buffering=0) as opened:
                fcntl.flock(opened, fcntl.LOCK_EX)
                end = _cut_torn_line(opened)
                try:
                    if opened.write(line) != len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    if not isinstance(event, Entered | Progressed):
                        os.fsync(opened.fileno())
                except OSError:
                    opened.truncate(end)
                    raise
                return LogEntry(event, now, end + len(line))
        except OSError as error:
            raise GensweepError(
                f"{self.file} cannot be written ({error.strerror or error}); free disk space or fix permissions, then "
                f"run: {continue_command('resume', self.file.parent)}"
            ) from error

    def fingerprint(self, end: int) -> str | None:
        """Fingerprint of the record that ends at `end`, or None if no record ends there."""
        begin = max(0, end - MARK_BYTES)
        with self.file.open("rb") as opened:
            opened.seek(begin)
            tail = opened.read(end - begin)
        return str(zlib.crc32(tail)) if len(tail) == end - begin and (not tail or tail.endswith(b"\n")) else None

    def read(self, start: int = 0) -> Iterator[LogEntry]:
        """The events after a position, oldest first.

        Raises DamagedLogError for an unreadable line; in a complete log also for a repeated line.
        """
        if not self.file.exists():
            return
        blank: int | None = None
        lines, trials = set[int](), set[str]()
        with self.file.open("rb") as opened:
            end = opened.seek(start)
            for line in opened:
                if not line.endswith(b"\n"):
                    return
                begin, end = end, end + len(line)
                if not line.strip(_BLANK):
                    blank = begin if blank is None else blank
                    continue
                if blank is not None:  # blank lines at the end are left over from a truncated line
                    raise DamagedLogError(self.file, blank, "an empty line")
                if (entry := self._parsed(line, begin, end)) is None:
                    continue
                if start == 0:
                    self._check_once(line, entry.event, begin, lines, trials)
                yield entry

    def _check_once(self, line: bytes, event: Event, begin: int, lines: set[int], trials: set[str]) -> None:
        """Raises DamagedLogError for a repeated line or trial."""
        if isinstance(event, _REPEATABLE):
            return
        if hash(line) in lines:
            raise DamagedLogError(self.file, begin, "the line is repeated")
        lines.add(hash(line))
        if isinstance(event, Suggested):
            if event.trial in trials:
                raise DamagedLogError(self.file, begin, f"{event.trial} is suggested twice")
            trials.add(event.trial)

    def _parsed(self, line: bytes, begin: int, end: int) -> LogEntry | None:
        try:
            record = parse_json(line)
            version = record["v"]
            if version != VERSION:
                raise GensweepError(
                    f"{self.file} was written by another version of gensweep (log version {version}; this one reads "
                    f"{VERSION}); use that version, or begin a new sweep with --name"
                )
            if not _is_intact(line):
                raise ValueError("its checksum does not match")
            event = from_record(record)
            return None if event is None else LogEntry(event, record["time"], end)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedLogError(self.file, begin, error) from None


def whole_lines(content: bytes) -> bytes:
    """The log up to its last complete line that is not blank."""
    lines = content[: content.rfind(b"\n") + 1]
    end = len(lines.rstrip(_BLANK))
    return lines[: lines.find(b"\n", end) + 1] if end else b""


def _line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of JSON with its checksum."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False, default=str).encode()
    return text[:-1] + b',"crc32":%d}\n' % zlib.crc32(text)


def _is_intact(line: bytes) -> bool:
    found = _CHECKSUM.search(line)
    return found is not None and int(found[1]) == zlib.crc32(line[: found.start()] + b"}")


def _cut_torn_line(opened: BinaryIO) -> int:
    """Remove a truncated last line; returns the size afterwards."""
    size = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, size - 2))
    if size == 0 or opened.read(2) == b"}\n":
        return size
    opened.seek(0)
    whole = len(whole_lines(opened.read()))
    opened.truncate(whole)
    return whole
