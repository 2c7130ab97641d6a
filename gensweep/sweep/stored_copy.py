"""A sweep's settings, log and other files in a storage, so that any machine can resume it and report it.

The log is stored in segments, log/EPOCH-START.jsonl: the driver's number (see `ownership`) and the position at which
the segment begins.  The last segment is written again, longer, until it is large enough.  What a later driver wrote
replaces what an earlier one, which had been taken to be lost, wrote behind its start.
"""

from __future__ import annotations

import time
from pathlib import Path

from gensweep.errors import ConfigError
from gensweep.files import path_within, write_bytes
from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.events import ScoredAgain
from gensweep.sweep.folder import LOGS, PICTURES_FOLDER, PLUGINS_FOLDER, SETTINGS_FILE, SweepFolder
from gensweep.sweep.log import EventLog, whole_lines

LOG_FOLDER = "log"
#: Bytes from which on a segment is not written again.
SEGMENT_BYTES = 256 * 1024


class StoredCopy:
    """The copy that a driver keeps; `position` is how many bytes of the log the storage has."""

    def __init__(self, folder: SweepFolder, remote: RemoteFolder, epoch: int, position: int) -> None:
        self._folder, self._remote, self._epoch = folder, remote, epoch
        self.position = self._start = position

    @property
    def behind(self) -> int:
        """Bytes of the log that the storage does not have."""
        return self._folder.log.size - self.position

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

    def store(self, file: Path) -> None:
        """Store a file of the sweep's folder, if it is still there.  Raises OSError if that fails."""
        if file.is_file():
            self._remote.upload(file, file.relative_to(self._folder.path).as_posix())

    def store_settings(self) -> None:
        """Store the configuration.  Raises OSError if that fails."""
        self.store(self._folder.path / SETTINGS_FILE)

    def store_plugins(self) -> None:
        """Store the code of plug-ins, which never changes under its hash.  Raises OSError if that fails."""
        code = self._folder.path / PLUGINS_FOLDER
        stored = RemoteFolder(below(self._remote.place, PLUGINS_FOLDER)).files()
        for file in sorted(code.rglob("*")):
            if file.relative_to(code).as_posix() not in stored:
                self.store(file)


def stored_log(remote: RemoteFolder) -> bytes:
    """The log that the segments of a storage make up.  Raises OSError if they cannot be read."""
    content = b""
    for name in sorted(RemoteFolder(below(remote.place, LOG_FOLDER)).files()):
        start = int(name.partition(".")[0].partition("-")[2])
        if start <= len(content):  # else an earlier driver wrote it after it was taken to be lost
            content = content[:start] + remote.read(f"{LOG_FOLDER}/{name}")
    return content


def fetch_files(folder: SweepFolder, remote: RemoteFolder) -> None:
    """Copy pictures, logs and plug-ins that the storage has, or has more of, to the sweep's folder.

    Raises OSError if the storage does not answer, GensweepError if a name there leads out of the folder; then nothing
    was copied.
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
    if local.partition(b"\n")[0] != stored.partition(b"\n")[0]:
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
