"""What MLflow last said of all runs, for as long as it would say the same: importing it takes longer than all else.

An SQLite database counts in its header how often it was written (sqlite.org/fileformat.html, "File change counter").
While that and the file are the same, so are the runs.  What a server has cannot be known without asking it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gensweep.cache import cache_folder
from gensweep.files import write_text

#: Another one whenever answers are written in another way.
FORMAT = 2
#: The beginning of every SQLite database.
MAGIC = b"SQLite format 3\0"
#: Where its header says how it is written, and that it is with a rollback journal: otherwise changes lie elsewhere.
WRITE_VERSION, ROLLBACK_JOURNAL = 18, 1
#: Where its header has the count.
CHANGE_COUNTER = slice(24, 28)

Version = list[int | str]
"""What is another whenever a database was written."""


@dataclass(frozen=True)
class StoredRun:
    """A run: its id and status in MLflow, when it started (milliseconds since 1970), and what is on record of it."""

    run_id: str
    status: str
    started: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    """The newest of each."""
    model_id: str | None
    """The model of its kept checkpoint, if there is one, and where it lies."""
    model_location: str
    details: Mapping[str, Any]
    """Of a trial, what is neither a text nor a number."""
    has_lost_details: bool = False
    """Of a sweep, whether those of its trials cannot be had."""


@dataclass(frozen=True)
class LastAnswer:
    """The URI of the store, its database, and all runs of the experiment when the database had this version."""

    uri: str
    database: str
    version: Version
    runs: Sequence[StoredRun]

    def keep(self) -> None:
        """Write it down for the next command.  A cache that cannot be written costs time only."""
        with suppress(OSError):
            write_text(_file(), json.dumps(asdict(self)))


def last_answer() -> LastAnswer | None:
    """The last answer if MLflow would give it again; None if it has to be asked."""
    try:
        facts = (file := _file()).stat()
        kept = _kept(file, facts.st_ino, facts.st_mtime_ns)
        return kept if kept.version == version(Path(kept.database)) and _is_asked(kept.uri) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


@lru_cache(maxsize=1)
def _kept(file: Path, inode: int, written: int) -> LastAnswer:
    """What lies in a file, which is read once for as long as it is the same."""
    kept: dict[str, Any] = json.loads(file.read_text())
    return LastAnswer(**kept | {"runs": [StoredRun(**run) for run in kept["runs"]]})


def version(database: Path) -> Version | None:
    """The version of an SQLite database; None if it cannot be known, or if a process is writing it."""
    try:
        with database.open("rb") as opened:
            header, facts = opened.read(100), os.fstat(opened.fileno())
    except OSError:
        return None
    writing = any(database.with_name(f"{database.name}-{kind}").exists() for kind in ("journal", "wal"))
    if writing or not header.startswith(MAGIC) or header[WRITE_VERSION] != ROLLBACK_JOURNAL:
        return None
    return [facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, header[CHANGE_COUNTER].hex()]


def _is_asked(uri: str) -> bool:
    """Whether MLflow would ask this store: once it is imported, it may have been told of another one."""
    if "mlflow" not in sys.modules:
        return True
    from mlflow.tracking import get_tracking_uri

    return bool(uri == get_tracking_uri())


def _file() -> Path:
    """Where an answer lies, by all that says which store and experiment is asked."""
    asked = [os.environ.get(f"MLFLOW_{name}", "") for name in ("TRACKING_URI", "EXPERIMENT_NAME")]
    text = json.dumps([FORMAT, str(Path.cwd()), *asked])
    return cache_folder() / "mlflow" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
