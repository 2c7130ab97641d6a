"""What a sweep remembers on disk, so that it can go on after any interruption.

NAME/sweep.json          what was asked for
NAME/optuna.db           the Optuna study
NAME/trials/t0007.json   one file a trial, replaced as a whole at its start, at each checkpoint and at its end
NAME/trials/t0007.log    what went wrong, if anything did
NAME/checkpoints/t0007/  checkpoints (in the storage, if that is elsewhere)
NAME/ray/                book-keeping of Ray, never read again
NAME/tracking/           for observers
NAME/lock                held by the driver
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gensweep.errors import ConfigError, GensweepError

__all__ = ["Kept", "SweepFolder", "TrialRecord", "write_atomically"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass
class Kept:
    """A checkpoint that is kept, with what was measured on it."""

    images: int
    place: str
    value: float | None = None
    """The sweep's metric; None if this checkpoint was not evaluated."""
    metrics: dict[str, float] = field(default_factory=dict)
    identity: dict[str, Any] | None = None


@dataclass
class TrialRecord:
    """All that is known of a trial."""

    trial: str
    number: int
    """Optuna's number of it."""
    params: dict[str, Any]
    config: dict[str, Any]
    status: Literal["running", "finished", "pruned", "failed", "stopped"] = "running"
    images: int = 0
    objective: float | None = None
    rungs: list[tuple[int, float]] = field(default_factory=list)
    """Images seen and the best objective so far, at each evaluation."""
    checkpoints: list[Kept] = field(default_factory=list)
    """The last two, oldest first."""
    best: Kept | None = None
    error: str | None = None
    log: str | None = None
    seconds: float = 0.0
    started: bool = False

    @property
    def ended(self) -> bool:
        """True if it will not go on."""
        return self.status in ("finished", "pruned", "failed")

    def as_json(self) -> str:
        """The text of its file."""
        return json.dumps(asdict(self), indent=1, allow_nan=False, default=str)

    @classmethod
    def from_json(cls, text: str) -> TrialRecord:
        """The record of a file's text.  Unknown keys are ignored, so that older versions can read newer files."""
        raw = json.loads(text)
        known = {f.name: raw[f.name] for f in fields(cls) if f.name in raw}
        known["checkpoints"] = [Kept(**k) for k in known.get("checkpoints", [])]
        known["best"] = Kept(**known["best"]) if known.get("best") else None
        known["rungs"] = [(int(i), float(v)) for i, v in known.get("rungs", [])]
        return cls(**known)


class SweepFolder:
    """The folder of one sweep, made on demand.  Raises ConfigError if the name cannot be a folder's."""

    def __init__(self, root: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"name: {name!r} cannot name a sweep; use letters, digits, '.', '_' and '-', 100 at most")
        self.name = name
        self.path = (root / name).absolute()

    @property
    def exists(self) -> bool:
        """True once a sweep was started here."""
        return (self.path / "sweep.json").is_file()

    @property
    def optuna(self) -> str:
        """URL of the Optuna storage."""
        return f"sqlite:///{self.path / 'optuna.db'}"

    @property
    def ray(self) -> Path:
        """Where Tune keeps its book."""
        return self.path / "ray"

    @property
    def settings(self) -> dict[str, Any]:
        """What sweep.json holds.  Raises GensweepError if it cannot be read."""
        try:
            content: dict[str, Any] = json.loads((self.path / "sweep.json").read_text())
        except (OSError, ValueError) as error:
            raise GensweepError(
                f"{self.path / 'sweep.json'} cannot be read ({error}); is it a sweep's folder?"
            ) from error
        return content

    def create(self, settings: dict[str, Any]) -> None:
        """Make the folder and write sweep.json, the sign that the sweep exists."""
        (self.path / "trials").mkdir(parents=True, exist_ok=True)
        (self.path / "tracking").mkdir(exist_ok=True)
        write_atomically(self.path / "sweep.json", json.dumps(settings, indent=1, default=str) + "\n")

    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        found = []
        for path in sorted((self.path / "trials").glob("t*.json")):
            try:
                found.append(TrialRecord.from_json(path.read_text()))
            except (ValueError, TypeError, KeyError) as error:
                raise GensweepError(f"{path} is damaged ({error}); restore it from a backup or delete it") from error
        return sorted(found, key=lambda record: record.number)

    def write(self, record: TrialRecord) -> None:
        """Replace a trial's file."""
        write_atomically(self.path / "trials" / f"{record.trial}.json", record.as_json())

    def write_log(self, trial: str, text: str) -> Path:
        """Append to a trial's log."""
        path = self.path / "trials" / f"{trial}.log"
        with path.open("a") as file:
            file.write(text.rstrip() + "\n")
        return path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the sweep for this process.  Raises GensweepError if another one holds it."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise GensweepError(
                f"sweep {self.name!r} is being run by another process; wait for it, or end it with Ctrl-C"
            ) from None
        try:
            yield
        finally:
            lock.release()


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole: after a crash it holds the old text or the new, never a part."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
