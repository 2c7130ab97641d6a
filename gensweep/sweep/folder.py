"""The folder of a sweep: the configuration, the log, the checkpoints, and views of the log that can be deleted.

NAME/sweep.json          the configuration with which it was started
NAME/events.jsonl        the log: all that happened (see gensweep.sweep.log)
NAME/checkpoints/t0007/  checkpoints (in the storage, if that is elsewhere; `fetched/` holds copies of those)
NAME/pictures/t0007/     the pictures of each evaluation
NAME/logs/t0007.log      what went wrong, if anything did; of the driver in driver.log
NAME/optuna.db           the Optuna study, a view of the log
NAME/ray/                book-keeping of Ray, never read again
NAME/lock                held by the driver
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import write_text
from gensweep.sweep.checkpoints import fetch
from gensweep.sweep.log import EventLog
from gensweep.sweep.state import SweepState

_log = logging.getLogger(__name__)

#: Pictures that a checkpoint may hold, which are kept when it goes.
PICTURES = ("samples", "real", "schedule", "suspects")
#: Those that are the same at every evaluation of a trial: only the first is kept.
CONSTANT_PICTURES = ("real",)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class SweepFolder:
    """The folder of one sweep, made on demand.  Raises ConfigError if the name cannot be a folder's."""

    def __init__(self, root: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"name: {name!r} cannot name a sweep; use letters, digits, '.', '_' and '-', 100 at most")
        self.name = name
        self.path = (root / name).absolute()
        self.log = EventLog(self.path / "events.jsonl")
        self.optuna = self.path / "optuna.db"

    @property
    def exists(self) -> bool:
        """True once a sweep was started here."""
        return (self.path / "sweep.json").is_file()

    def check_name(self, *, resume: bool) -> None:
        """Raises ConfigError if a new sweep's name is taken, or one that is to go on does not exist."""
        if self.exists and not resume:
            raise ConfigError(
                f"sweep {self.name!r} exists already in {self.path}; to go on with it: gensweep tune --resume "
                f"{self.name}; to add trials to it: gensweep tune --extend {self.name} --trials N; or choose another "
                "name with --name"
            )
        if resume and not self.exists:
            root = self.path.parent
            known = ", ".join(sorted(file.parent.name for file in root.glob("*/sweep.json"))) or "none"
            raise ConfigError(f"there is no sweep {self.name!r} in {root} (known: {known})")

    def state(self) -> SweepState:
        """The state that follows from the log.  Raises GensweepError if the log is damaged."""
        return SweepState.of(self.log.read())

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
        """Write sweep.json, the sign that the sweep exists."""
        write_text(self.path / "sweep.json", json.dumps(settings, indent=1, default=str) + "\n")

    def picture(self, trial: str, images: int, key: str) -> Path:
        """Where a picture of an evaluation is kept."""
        return self.path / "pictures" / trial / f"{images:012d}-{key}.png"

    def keep_picture(self, trial: str, images: int, key: str, source: Path) -> None:
        """Keep a copy of a picture of an evaluation, if there is one; of those that never change the first."""
        target = self.picture(trial, images, key)
        known = key in CONSTANT_PICTURES and any(target.parent.glob(f"*-{key}.png"))
        if source.is_file() and not known:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def fetched(self, trial: str) -> Path:
        """Where copies are kept of a trial's checkpoints that do not lie on this machine."""
        return self.path / "fetched" / trial

    def local(self, trial: str, uri: str | None) -> Path | None:
        """A checkpoint on this machine, fetched if it lies elsewhere; None if it is gone, or cannot be had."""
        if uri is None:
            return None
        try:
            folder = fetch(uri, self.fetched(trial))
        except OSError as error:
            _log.warning("%s: the checkpoint %s cannot be fetched: %s", trial, uri, error)
            return None
        return folder if folder.is_dir() else None

    def write_log(self, name: str, text: str) -> Path:
        """Append to the log of a trial, or of the driver."""
        path = self.path / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text.rstrip() + "\n")
        return path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the sweep for this process.  Raises SweepInUseError if another one holds it."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self.path / "lock", blocking=False).acquire()
        except Timeout:
            raise SweepInUseError(
                f"sweep {self.name!r} is being run by another process; wait for it, or end it with Ctrl-C"
            ) from None
        with held:
            yield


class SweepInUseError(GensweepError):
    """Another process runs the sweep."""
