"""A journal on disk between the sweep and the tracking server: what is written here is not lost.

Every record is one line of JSON, appended before anything is sent.  A second file holds the position up to which
records have arrived.  A crash can therefore repeat the last few records, never lose one, and records are made so that
repeating them changes nothing.  A last line without its newline was torn by a crash and never counts.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

__all__ = ["Spool", "SpoolInUseError", "Spooled"]


class SpoolInUseError(Exception):
    """Another process, such as a running sweep, sends the records of this spool."""


class Spooled(NamedTuple):
    """A record and the position behind it; the record is None if its line is damaged."""

    end: int
    record: dict[str, Any] | None


class Spool:
    """The journal of one sweep, owned by one process at a time.  Raises SpoolInUseError if it is owned already."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._file, self._position_file = folder / "records.jsonl", folder / "position"
        self._owner = FileLock(folder / "lock", thread_local=False)
        try:
            self._owner.acquire(timeout=0)
        except Timeout:
            raise SpoolInUseError(str(folder)) from None
        self._mutex = threading.Lock()
        self.arrived = threading.Condition(self._mutex)
        self._mend()
        self._writer = self._file.open("ab")
        self.size = self._writer.tell()
        self.position = self._read_position()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record at the end, and wake whoever waits for one.  Takes well under a millisecond."""
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self.arrived:
            self._writer.write(line)
            self._writer.flush()
            self.size += len(line)
            self.arrived.notify_all()

    def keep(self, source: Path, name: str) -> str:
        """Copy a file into the spool, since the original may go; returns its name here."""
        (self.folder / "files").mkdir(exist_ok=True)
        target = self.folder / "files" / name
        shutil.copyfile(source, target)
        return target.relative_to(self.folder).as_posix()

    def pending(self, limit: int = 500) -> list[Spooled]:
        """The next records that have not arrived, oldest first."""
        found: list[Spooled] = []
        with self._mutex, self._file.open("rb") as reader:
            position = reader.seek(self.position)
            for line in reader:
                if not line.endswith(b"\n") or len(found) == limit:
                    break
                position += len(line)
                found.append(Spooled(position, _parsed(line)))
        return found

    def commit(self, position: int) -> None:
        """Note that everything before the position has arrived."""
        self.position = position
        temporary = self._position_file.with_suffix(".new")
        temporary.write_text(str(position))
        temporary.replace(self._position_file)

    def remaining(self) -> int:
        """How many records have not arrived."""
        with self._mutex, self._file.open("rb") as reader:
            reader.seek(self.position)
            return sum(line.endswith(b"\n") for line in reader)

    def close(self) -> None:
        """Give the spool back, and empty it if everything has arrived."""
        if not self._owner.is_locked:
            return
        with self._mutex:
            self._writer.close()
            if self.position >= self.size:
                # In this order a crash in between repeats records, and loses none.
                self._position_file.unlink(missing_ok=True)
                self._file.unlink(missing_ok=True)
                shutil.rmtree(self.folder / "files", ignore_errors=True)
            self._owner.release()

    def _mend(self) -> None:
        if not self._file.exists():
            self._position_file.unlink(missing_ok=True)
            return
        with self._file.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole != len(content):
                file.truncate(whole)
                os.fsync(file.fileno())

    def _read_position(self) -> int:
        try:
            position = int(self._position_file.read_text())
        except (OSError, ValueError):
            return 0
        return position if 0 <= position <= self.size else 0


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
