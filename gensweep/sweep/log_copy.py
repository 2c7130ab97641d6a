"""A sweep's configuration and log beside its checkpoints, so that any machine can go on with it.

The log is stored in segments, log/EPOCH-START.jsonl: the driver's number (see `ownership`) and the position at which
the segment begins.  The last segment is written again, longer, until it is large enough.  What a later driver wrote
replaces what an earlier one, which had been taken to be lost, wrote behind its start.
"""

from __future__ import annotations

import time
from pathlib import Path

from gensweep.errors import ConfigError
from gensweep.files import parse_json, write_bytes
from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.events import ScoredAgain
from gensweep.sweep.folder import SETTINGS_FILE, SweepFolder
from gensweep.sweep.kept_files import store_file
from gensweep.sweep.log import EventLog, whole_lines

LOG_FOLDER = "log"
#: Bytes from which on a segment is not written again.
SEGMENT_BYTES = 256 * 1024


class LogCopy:
    """The copy that a driver keeps; `position` is how many bytes of the log the storage has."""

    def __init__(self, folder: SweepFolder, remote: RemoteFolder, epoch: int, position: int) -> None:
        self._folder, self._remote, self._epoch = folder, remote, epoch
        self.position = self._start = position

    @property
    def behind(self) -> int:
        """Bytes that the storage does not have."""
        return self._folder.log.size - self.position

    def push_settings(self) -> None:
        """Store the configuration.  Raises OSError if that fails."""
        self._remote.write(SETTINGS_FILE, (self._folder.path / SETTINGS_FILE).read_bytes())

    def store_file(self, file: Path) -> None:
        """Store a file of the sweep's folder.  Raises OSError if that fails."""
        store_file(file, self._folder, self._remote)

    def push(self) -> None:
        """Store what is new in the log.  Raises OSError if that fails."""
        while True:
            content = _whole_lines(self._folder.log, self._start, SEGMENT_BYTES)
            if self._start + len(content) <= self.position:
                return
            self._remote.write(f"{LOG_FOLDER}/{self._epoch:06d}-{self._start:015d}.jsonl", content)
            self.position = self._start + len(content)
            if len(content) >= SEGMENT_BYTES:
                self._start = self.position


def stored_log(remote: RemoteFolder) -> bytes:
    """The log that the segments of a storage make up.  Raises OSError if they cannot be read."""
    content = b""
    for name in sorted(RemoteFolder(below(remote.place, LOG_FOLDER)).files()):
        start = int(name.partition(".")[0].partition("-")[2])
        if start <= len(content):  # else an earlier driver wrote it after it was taken to be lost
            content = content[:start] + remote.read(f"{LOG_FOLDER}/{name}")
    return content


def reconcile(folder: SweepFolder, remote: RemoteFolder) -> tuple[int, str | None]:
    """Make the log of a sweep's folder what the storage and the folder know together.

    Returns how many bytes of it the storage has, and a line if the folder had events of its own that another driver
    has overtaken.  They stay in a file beside the log; scores of later evaluations among them are noted again.
    Raises OSError if the storage does not answer, ConfigError if it holds another sweep.
    """
    stored, log = stored_log(remote), folder.log
    local = _whole_lines(log, 0)
    if local.startswith(stored):
        return len(stored), None
    if stored.startswith(local):
        write_bytes(log.file, stored)
        return len(stored), None
    if _sweep_id(local) != _sweep_id(stored):
        raise ConfigError(f"{remote.place} and {folder.path} hold different sweeps; choose another name with --name")
    aside = log.file.with_name(f"{log.file.name}.overtaken-{int(time.time())}")
    log.file.rename(aside)
    write_bytes(log.file, stored)
    known = [entry.event for entry in log.read()]
    for entry in EventLog(aside).read():
        if isinstance(entry.event, ScoredAgain) and entry.event not in known:
            log.append(entry.event)
    return len(stored), (
        f"another driver went on with {folder.name}; what only this machine had on record since then is in {aside.name}"
    )


def _whole_lines(log: EventLog, start: int, least: int | None = None) -> bytes:
    """The log from a position to its last whole line, or to the end of the line with which it has `least` bytes."""
    if not log.file.exists():
        return b""
    with log.file.open("rb") as opened:
        opened.seek(start)
        content = opened.read() if least is None else opened.read(least) + opened.readline()
    return whole_lines(content)


def _sweep_id(log: bytes) -> str | None:
    """The id of the sweep that a log begins with."""
    try:
        found: str | None = parse_json(log.partition(b"\n")[0]).get("sweep_id")
    except (ValueError, AttributeError):
        return None
    return found
