"""The folder of a sweep: the configuration, the log, the checkpoints, and views of the log that can be deleted.

NAME/sweep.json          the configuration at its start
NAME/events.jsonl        the log: all that happened (see gensweep.sweep.log)
NAME/checkpoints/t0007/  checkpoints, unless the storage is elsewhere (see gensweep.sweep.storage)
NAME/fetched/t0007/      copies of checkpoints in another storage
NAME/pictures/t0007/     the pictures of each evaluation
NAME/votes/              votes of people on pairs of pictures, a file per page and person
NAME/plugins/3f2a.../    the code of plug-ins, by hash
NAME/logs/t0007.log      errors of a trial; driver.log has the driver's
NAME/optuna.db           the Optuna study, a view of the log
NAME/ray/                Ray's own files, never read again
NAME/lock                held by the driver
NAME/copy.lock           held by the process that sends the log to the tracking store
"""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import parse_json, write_text
from gensweep.redaction import redact
from gensweep.remote_folder import absolute, below, is_url
from gensweep.sweep.checkpoints import checkpoint_place, delete, fetch_file
from gensweep.sweep.continuation import continue_command
from gensweep.sweep.events import SAFE_NAME, Created
from gensweep.sweep.log import DamagedLogError, EventLog
from gensweep.sweep.state import SweepState

if TYPE_CHECKING:
    from filelock import BaseFileLock

_log = logging.getLogger(__name__)

PICTURES_FOLDER, LOGS, PLUGINS_FOLDER, VOTES_FOLDER = "pictures", "logs", "plugins", "votes"
#: Pictures of a checkpoint, kept when the checkpoint is deleted.
PICTURES = ("samples", "real", "suspects")
#: Pictures that never change within a trial: only the first is kept.
CONSTANT_PICTURES = ("real",)

#: Files that a driver creates after the log.
VIEWS = ("optuna.db", "ray", PICTURES_FOLDER)

SETTINGS_FILE, LOCK_FILE = "sweep.json", "lock"


class SweepFolder:
    """The folder of one sweep, created when needed.  Raises ConfigError if the name cannot be a folder name."""

    def __init__(self, root: Path, name: str) -> None:
        if not SAFE_NAME.fullmatch(name):
            raise ConfigError(f"name: {name!r} cannot name a sweep; use at most 100 letters, digits, '.', '_' and '-'")
        self.name = name
        self.path = (root / name).absolute()
        self.log = EventLog(self.path / "events.jsonl")
        self.optuna = self.path / "optuna.db"

    @property
    def exists(self) -> bool:
        """True once a sweep was started here."""
        return (self.path / SETTINGS_FILE).is_file()

    def check_name(self, *, resume: bool) -> None:
        """Raises ConfigError if a new sweep's name is taken, or if the sweep to resume does not exist."""
        if self.exists and not resume:
            raise ConfigError(
                f"sweep {self.name!r} already exists in {self.path}; to resume it: "
                f"{continue_command('resume', self.path)}; to add trials to it: "
                f"{continue_command('extend', self.path)} --trials N; or choose another name with --name"
            )
        if resume and not self.exists:
            root = self.path.parent
            known = ", ".join(sorted(file.parent.name for file in root.glob(f"*/{SETTINGS_FILE}"))) or "none"
            raise ConfigError(f"there is no sweep {self.name!r} in {root} (known: {known})")

    def state(self) -> SweepState:
        """The state after all events; cached until the log changes.

        Raises GensweepError if the log is damaged.
        """
        try:
            return _state(self.log.file, *self.log.version)
        except DamagedLogError as error:
            if self.root == str(self.path):
                raise
            raise GensweepError(
                f"{error.damage}; to use the storage's copy, move {self.log.file.name} away, then run: "
                f"gensweep tune --resume {shlex.quote(self.root)}"
            ) from None

    @property
    def sweep_id(self) -> str | None:
        """The sweep's id, from the first event; None without a log.  Raises GensweepError if it is damaged."""
        first = next(self.log.read(), None)
        return first.event.sweep_id if first is not None and isinstance(first.event, Created) else None

    def check_log(self) -> None:
        """Raises GensweepError if the log is damaged, or if it is missing although a driver has run here."""
        if self.state().created is None and (traces := [name for name in VIEWS if (self.path / name).exists()]):
            raise GensweepError(
                f"{self.log.file} is missing or empty, but a driver has run here ({traces[0]} exists); "
                "restore it from a backup, or begin a new sweep with --name"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The content of sweep.json.  Raises GensweepError if it cannot be read or is invalid."""
        file = self.path / SETTINGS_FILE
        try:
            content = file.read_bytes()
        except OSError as error:
            raise GensweepError(f"{file} cannot be read ({error}); is it in a sweep's folder?") from error
        return parse_settings(content, str(file))

    def create(self, settings: dict[str, Any]) -> None:
        """Write sweep.json, which marks the folder as a sweep."""
        write_text(self.path / SETTINGS_FILE, json.dumps(settings, indent=1, default=str) + "\n")

    def picture(self, trial: str, images: int, key: str) -> Path:
        """The path of a kept picture."""
        return self.path / PICTURES_FOLDER / trial / f"{images:012d}-{key}.png"

    def pictures(self, trial: str, images: int) -> list[Path]:
        """All kept pictures of an evaluation."""
        return [file for key in PICTURES if (file := self.picture(trial, images, key)).is_file()]

    def pictures_of(self, trial: str, key: str) -> dict[int, Path]:
        """The kept pictures of one kind of a trial, by training images."""
        found = (self.path / PICTURES_FOLDER / trial).glob(f"*-{key}.png")
        return {int(file.name.partition("-")[0]): file for file in sorted(found)}

    def keep_pictures(self, trial: str, images: int, checkpoint: str) -> None:
        """Copy the pictures of an evaluation's checkpoint; constant ones only once."""
        place = checkpoint_place(self.root, checkpoint)
        for key in PICTURES:
            target = self.picture(trial, images, key)
            if not (key in CONSTANT_PICTURES and any(target.parent.glob(f"*-{key}.png"))):
                try:
                    fetch_file(place, f"{key}.png", target)
                except OSError as error:
                    _log.warning("%s.png of %s could not be fetched: %s", key, checkpoint, error)

    def fetched(self, checkpoint: str) -> Path:
        """The local copy of a checkpoint at a URL."""
        return self.path / "fetched" / checkpoint

    def delete(self, checkpoint: str) -> None:
        """Remove a checkpoint and its copy, if they exist.  Raises OSError if that fails."""
        delete(checkpoint_place(self.root, checkpoint))
        shutil.rmtree(self.fetched(checkpoint), ignore_errors=True)

    @property
    def root(self) -> str:
        """The folder or URL that contains its checkpoints."""
        return self.root_in(self.settings.get("storage") if self.exists else None)

    def root_in(self, storage: str | None) -> str:
        """The root for a --storage path or URL; by default the sweep's own folder."""
        return str(self.path) if storage is None else below(absolute(storage), self.name)

    def existing(self, checkpoint: str) -> str | None:
        """The place of a checkpoint: its URL, or its folder if that exists."""
        place = checkpoint_place(self.root, checkpoint)
        return place if is_url(place) or Path(place, "checkpoint.json").is_file() else None

    def write_log(self, name: str, text: str) -> Path:
        """Append to the log of a trial, or of the driver."""
        path = self.path / LOGS / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(redact(text).rstrip() + "\n")
        return path

    def copy_lock(self) -> BaseFileLock:
        """Lock for sending the log to the tracking store: two processes would create its runs twice."""
        from filelock import FileLock

        return FileLock(self.path / "copy.lock", thread_local=False)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the sweep for this process.  Raises SweepInUseError if another process has locked it."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self.path / LOCK_FILE, blocking=False).acquire()
        except Timeout:
            raise SweepInUseError(
                f"sweep {self.name!r} is running in another process; wait for it, or end it with Ctrl-C"
            ) from None
        with held:
            yield


def parse_settings(content: bytes, place: str) -> dict[str, Any]:
    """The settings in the sweep.json at `place`.  Raises GensweepError if they are invalid."""
    try:
        settings = parse_json(content)
    except ValueError as error:
        raise GensweepError(f"{place} cannot be read ({error}); is it in a sweep's folder?") from error
    if not (isinstance(settings, dict) and isinstance(settings.get("sweep"), dict)):
        raise GensweepError(f"{place} has no settings of a sweep; is it in a sweep's folder?")
    return settings


@lru_cache(maxsize=8)
def _state(file: Path, *version: int) -> SweepState:
    """Cache the state of a log: reading ten thousand trials costs seconds."""
    return SweepState.of(EventLog(file).read(), SweepFolder(file.parents[1], file.parent.name))


class SweepInUseError(GensweepError):
    """Another process runs the sweep."""
