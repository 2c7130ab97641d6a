"""Copy a sweep's settings, log and files to a storage, so that any machine can resume and report it.

The log is stored in segments, log/EPOCH-START.jsonl: the driver's number (see `ownership`) and the segment's start.
The last segment is rewritten until it is large enough.  Segments of a later driver replace
an earlier driver's from their start on.
"""

from __future__ import annotations

import time
from pathlib import Path

from gensweep.errors import ConfigError
from gensweep.files import path_within, write_bytes
from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.events import ScoredAgain
from gensweep.sweep.folder import LOGS, PICTURES_FOLDER, PLUGINS_FOLDER, SweepFolder
from gensweep.sweep.log import EventLog, whole_lines

LOG_FOLDER = "log"
#: Bytes above which a segment is not rewritten.
SEGMENT_BYTES = 256 * 1024


class StoredCopy:
    """A driver's copy; `position` is the number of log bytes in the storage."""

    def __init__(self, folder: SweepFolder, remote: RemoteFolder, epoch: int, position: int) -> None:
        self._folder, self._remote, self._epoch = folder, remote, epoch
        self.position = self._start = position

    @property
    def behind(self) -> int:
        """Log bytes that the storage does not have."""
        return self._folder.log.size - self.position

    def push(self) -> None:
        """Store new log records.  Raises OSError if that fails."""
        while True:
            content = _whole_lines(self._folder.log, self._start, SEGMENT_BYTES)
            if self._start + len(content) <= self.position:
                return
            self._remote.write(f"{LOG_FOLDER}/{self._epoch:06d}-{self._start:015d}.jsonl", content)
            self.position = self._start + len(content)
            if len(content) >= SEGMENT_BYTES:
                self._start = self.position

    def store(self, file: Path) -> None:
        """Store a file of the sweep's folder, if it is still there.  Raises OSError if that fails."""
        if file.is_file():
            self._remote.upload(file, file.relative_to(self._folder.path).as_posix())

    def store_plugins(self) -> None:
        """Store the code of plug-ins, which never changes under its hash.  Raises OSError if that fails."""
        code = self._folder.path / PLUGINS_FOLDER
        stored = RemoteFolder(below(self._remote.place, PLUGINS_FOLDER)).files()
        for file in sorted(code.rglob("*")):
            if file.relative_to(code).as_posix() not in stored:
                self.store(file)


def stored_log(remote: RemoteFolder) -> bytes:
    """Join the segments in a storage.  Raises OSError if they cannot be read."""
    content = b""
    for name in sorted(RemoteFolder(below(remote.place, LOG_FOLDER)).files()):
        start = int(name.partition(".")[0].partition("-")[2])
        if start <= len(content):  # else a driver that was replaced wrote it
            content = content[:start] + remote.read(f"{LOG_FOLDER}/{name}")
    return content


def fetch_files(folder: SweepFolder, remote: RemoteFolder) -> None:
    """Copy missing or longer pictures, logs and plug-ins from the storage to the sweep's folder.

    Raises OSError if the storage is not reachable; GensweepError, before copying, if a name points outside the folder.
    """
    wanted: list[tuple[RemoteFolder, str, Path]] = []
    for kind in (PICTURES_FOLDER, LOGS, PLUGINS_FOLDER):
        stored = RemoteFolder(below(remote.place, kind))
        for name, state in stored.files().items():
            file = path_within(folder.path / kind, name, stored.place)
            if not file.is_file() or file.stat().st_size < state.size:
                wanted.append((stored, name, file))
    for stored, name, file in wanted:
        file.parent.mkdir(parents=True, exist_ok=True)
        stored.download(name, file)


def reconcile(folder: SweepFolder, remote: RemoteFolder) -> tuple[int, str | None]:
    """Merge the logs of a sweep's folder and its storage.

    Returns the number of bytes in the storage, and a warning if another driver has replaced local events.  Those stay
    in another file; scores of later evaluations among them are recorded again.
    Raises OSError if the storage does not answer, ConfigError if it holds another sweep.
    """
    stored, log = stored_log(remote), folder.log
    local = _whole_lines(log, 0)
    if local.startswith(stored):
        return len(stored), None
    if stored.startswith(local):
        write_bytes(log.file, stored)
        return len(stored), None
    if local.partition(b"\n")[0] != stored.partition(b"\n")[0]:
        raise ConfigError(f"{remote.place} and {folder.path} contain different sweeps; choose another name with --name")
    aside = log.file.with_name(f"{log.file.name}.overtaken-{int(time.time())}")
    log.file.rename(aside)
    write_bytes(log.file, stored)
    known = [entry.event for entry in log.read()]
    for entry in EventLog(aside).read():
        if isinstance(entry.event, ScoredAgain) and entry.event not in known:
            log.append(entry.event)
    return len(stored), (
        f"another driver has continued {folder.name}; later events of this machine are in {aside.name}"
    )


def _whole_lines(log: EventLog, start: int, least: int | None = None) -> bytes:
    """The log from a position to its last complete line, or to the end of the line that reaches `least` bytes."""
    if not log.file.exists():
        return b""
    with log.file.open("rb") as opened:
        opened.seek(start)
        content = opened.read() if least is None else opened.read(least) + opened.readline()
    return whole_lines(content)
