"""Where a sweep's checkpoints lie: in its own folder, or in STORAGE/SWEEP at a path or URL that all machines reach.

STORAGE/SWEEP/owner.json         whose place it is, and which driver is at work (see gensweep.sweep.ownership)
STORAGE/SWEEP/sweep.json, log/   a copy of the configuration and of the log (see gensweep.sweep.stored_copy)
STORAGE/SWEEP/pictures/, logs/   copies of the pictures and of the logs of trials
STORAGE/SWEEP/plugins/           copies of the code of plug-ins, by hash
STORAGE/SWEEP/checkpoints/t0007/ checkpoints (see gensweep.sweep.checkpoints)
"""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from gensweep.causes import file_problem
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import write_bytes
from gensweep.redaction import check_without_secret
from gensweep.remote_folder import PATIENCE, RemoteFolder, absolute, below, is_url, split_place
from gensweep.sweep.checkpoints import unused_checkpoints
from gensweep.sweep.continuation import continue_command
from gensweep.sweep.folder import SETTINGS_FILE, SweepFolder, parse_settings
from gensweep.sweep.ownership import Owner, Ownership
from gensweep.sweep.stored_copy import StoredCopy, fetch_files, reconcile, stored_log
from gensweep.sweep.upkeep import Upkeep

_log = logging.getLogger(__name__)

#: Seconds for which a storage is tried before a sweep starts.
START_PATIENCE = 20.0


class HeldStorage(NamedTuple):
    """The root of a sweep's storage; its upkeep, unless that is the sweep's own folder; and the sweep's id."""

    root: str
    upkeep: Upkeep | None
    sweep_id: str

    @property
    def own(self) -> bool:
        """Whether it is the sweep's own folder."""
        return self.upkeep is None

    def change_settings(self, folder: SweepFolder, settings: dict[str, Any]) -> None:
        """Change what the sweep's sweep.json holds."""
        folder.create({**folder.settings, **settings})
        if self.upkeep is not None:
            self.upkeep.store_settings()


def chosen_storage(folder: SweepFolder, asked: str | None) -> str | None:
    """The storage of a sweep that is to start, or that goes on with this --storage or with none.

    Raises ConfigError if the sweep has checkpoints and they are not there.
    """
    recorded = folder.settings.get("storage") if folder.exists else None
    storage = recorded if asked is None else absolute(asked)
    root, state = folder.root_in(storage), folder.state()
    if state.created is None or not state.useful_checkpoints or {root, folder.root} == {str(folder.path)}:
        return storage
    owner = _owner(RemoteFolder(root, patience=START_PATIENCE))
    if owner is None or owner.sweep_id != state.created.sweep_id:
        raise ConfigError(
            f"{root} does not hold the checkpoints of sweep {folder.name!r}; "
            + (
                f"if they lie elsewhere now, say where: {continue_command('resume', folder.path)} --storage FOLDER"
                if root == folder.root
                else f"leave --storage out, or copy all of {folder.root} there first and give it again"
            )
        )
    return storage


def _owner(remote: RemoteFolder) -> Owner | None:
    try:
        return Owner.of(remote)
    except OSError as error:
        raise GensweepError(f"{remote.place} cannot be read: {error}") from error


def probe(root: str, *, patience: float = START_PATIENCE) -> None:
    """Write, read and delete a small file in a storage.  Raises GensweepError if this machine cannot."""
    content, name = uuid4().hex.encode(), f"probe-{socket.gethostname()}-{uuid4().hex[:8]}"
    try:
        remote = RemoteFolder(root, patience=patience)
        remote.write(name, content)
        back = remote.read(name)
        remote.delete(name)
        if back != content:
            raise OSError("what was written there comes back changed")
    except OSError as error:
        why = None if is_url(root) else file_problem(error)
        why = why or (
            f"{error}; look at its name, at its options (such as ?region=... or ?endpoint_override=...) and whether "
            "this machine may write, read and delete there"
        )
        raise GensweepError(f"the storage {root} cannot be used from {socket.gethostname()}: {why}") from error


def worker_problem(root: str, *, own: bool, patience: float = PATIENCE) -> str | None:
    """Why this machine cannot use the storage of a sweep, which is the sweep's `own` folder or another place.

    One that is away is waited for, for `patience` seconds.
    """
    if own:
        return None if (Path(root) / SETTINGS_FILE).is_file() else _missing_storage(root)
    try:
        probe(root, patience=patience)
    except GensweepError as error:
        return str(error)
    return None


def _missing_storage(root: str) -> str:
    """The message of a worker that cannot see the sweep's own folder."""
    return (
        f"checkpoints would go to {root} on the driver's machine, which {socket.gethostname()} cannot read; give a "
        "storage that all machines reach: --storage s3://BUCKET/sweeps, or a shared folder with --storage FOLDER"
    )


@contextmanager
def held_storage(folder: SweepFolder, asked: str | None, settings: dict[str, Any]) -> Iterator[HeldStorage]:
    """Claim the storage of a sweep for this driver, and begin or complete its folder; at the end the claim is released.

    `asked` is what --storage says, `settings` what a new sweep's sweep.json is to hold besides.
    Raises ConfigError for a place that holds another sweep, or not this one's checkpoints; GensweepError if another
    driver runs this sweep or the storage cannot be used.
    """
    storage = chosen_storage(folder, asked)
    root = folder.root_in(storage)
    if root == str(folder.path):
        _complete(folder, settings, storage)
        for name in _unused(folder):
            folder.delete(name)
        yield HeldStorage(root, None, folder.sweep_id or uuid4().hex)
        return
    probe(root)
    remote = RemoteFolder(root, patience=START_PATIENCE)
    try:
        begun = Owner.of(remote) if folder.exists else None  # a folder that was begun from the storage
        sweep_id = folder.sweep_id or (uuid4().hex if begun is None else begun.sweep_id)
        ownership = Ownership(remote, sweep_id, folder.path)
        position, overtaken = reconcile(folder, remote)
        if overtaken is not None:
            _log.warning("%s", overtaken)
        fetch_files(folder, remote)
        _complete(folder, settings, storage)
        copy = StoredCopy(folder, remote, ownership.epoch, position)
        copy.store_settings()
        copy.store_plugins()
        unused = _unused(folder)
    except OSError as error:
        raise GensweepError(
            f"the storage of sweep {folder.name!r} does not answer: {error}; try again later"
        ) from error
    upkeep = Upkeep(folder, copy, ownership)
    for name in unused:
        upkeep.later(partial(folder.delete, name))
    try:
        yield HeldStorage(root, upkeep, sweep_id)
    finally:
        if missing := upkeep.close():
            _log.warning(
                "%s misses the last %d bytes of the log; on this machine, %s sends them",
                root,
                missing,
                continue_command("resume", folder.path),
            )


def _complete(folder: SweepFolder, settings: dict[str, Any], storage: str | None) -> None:
    """Write sweep.json if there is none, or if the storage is another than it says."""
    before = folder.settings if folder.exists else settings
    if not folder.exists or before.get("storage") != storage:
        folder.create({**before, "storage": storage})


def _unused(folder: SweepFolder) -> list[str]:
    """Checkpoints of no more use, which a driver that died has left."""
    state = folder.state()  # without a log, what lies there may be the start of the first trial
    return [] if state.created is None else unused_checkpoints(folder.root, state.useful_checkpoints)


def adopt(root: Path, place: str) -> tuple[str, str]:
    """Begin the folder of a sweep that lies in a storage; returns the sweep's name and the storage.

    Raises ConfigError if the storage holds no sweep there, or if the folder is that of another sweep.
    """
    stored = _stored_sweep(place)
    storage, name = split_place(stored.remote.place)
    folder = SweepFolder(root, name)
    here = folder.sweep_id
    if here is None:  # a folder without a log is that of an adoption which was interrupted, or of another sweep
        is_another = folder.exists and folder.settings.get("sweep") != stored.settings.get("sweep")
    else:
        is_another = here != stored.owner.sweep_id
    if is_another:
        raise ConfigError(
            f"{folder.path} is the folder of another sweep than {place}; move it away, or name another folder with "
            "--sweeps"
        )
    if here is None:
        stored.copy_to(folder)
    elif not folder.exists:  # its log may have more than the storage
        folder.create({**stored.settings, "storage": storage})
    return name, storage


def read_copy(place: str, cache: Path) -> SweepFolder:
    """The folder of a sweep at a path, or an up-to-date copy, in a cache, of one in a storage.

    Raises ConfigError if there is no sweep, GensweepError if the storage cannot be read.
    """
    place = absolute(place.removeprefix("file://"))
    if not is_url(place) and (path := Path(place) / "events.jsonl").is_file():
        return SweepFolder(path.parents[1], path.parent.name)
    stored = _stored_sweep(place)
    storage, name = split_place(stored.remote.place)
    folder = SweepFolder(cache / hashlib.sha256(storage.encode()).hexdigest()[:16], name)
    stored.copy_to(folder)
    return folder


class _StoredSweep(NamedTuple):
    """A sweep in a storage: who runs it, and the content of its sweep.json and its log."""

    remote: RemoteFolder
    owner: Owner
    settings: dict[str, Any]
    log: bytes

    def copy_to(self, folder: SweepFolder) -> None:
        """Copy the sweep into a folder.  sweep.json comes last, so an interrupted copy can be made again."""
        try:
            fetch_files(folder, self.remote)
            write_bytes(folder.log.file, self.log)
        except OSError as error:
            raise GensweepError(f"{self.remote.place} cannot be read: {error}") from error
        folder.create({**self.settings, "storage": split_place(self.remote.place)[0]})


def _stored_sweep(place: str) -> _StoredSweep:
    """The sweep at a path or URL.  Raises ConfigError if there is none, GensweepError if it cannot be read."""
    check_without_secret("the place of a sweep", place)
    place = absolute(place)
    try:
        remote = RemoteFolder(place, patience=START_PATIENCE)
        if (owner := Owner.of(remote)) is not None:
            settings = parse_settings(remote.read(SETTINGS_FILE), below(place, SETTINGS_FILE))
            return _StoredSweep(remote, owner, settings, stored_log(remote))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise GensweepError(f"{place} cannot be read: {error}") from error
    if (Path(place) / SETTINGS_FILE).is_file():
        command = continue_command("resume", Path(place))
        raise ConfigError(f"{place} is the folder of a sweep, which goes on by its name: {command}")
    raise ConfigError(
        f"{place} holds no sweep; it should be the storage with the sweep's name, such as s3://bucket/sweeps/NAME"
    )
