"""The storage of a sweep's checkpoints: its own folder, or STORAGE/SWEEP at a path or URL that all machines reach.

STORAGE/SWEEP/owner.json         the sweep's id and its active driver (see gensweep.sweep.ownership)
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
from functools import cache, partial
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
from gensweep.sweep.storage_sync import StorageSync
from gensweep.sweep.stored_copy import StoredCopy, fetch_files, reconcile, stored_log

_log = logging.getLogger(__name__)

#: Seconds for which a storage is tried before a sweep starts.
START_PATIENCE = 20.0


class HeldStorage(NamedTuple):
    """The root of a sweep's storage; its sync thread, unless it is the sweep's own folder; and the sweep's id."""

    root: str
    sync: StorageSync | None
    sweep_id: str

    @property
    def own(self) -> bool:
        """True if it is the sweep's own folder."""
        return self.sync is None

    def change_settings(self, folder: SweepFolder, settings: dict[str, Any]) -> None:
        """Update the sweep's sweep.json."""
        folder.create({**folder.settings, **settings})
        if self.sync is not None:
            self.sync.store_settings()


def chosen_storage(folder: SweepFolder, asked: str | None) -> str | None:
    """The storage of a new or resumed sweep.  Raises ConfigError if the sweep's checkpoints are not in `asked`."""
    recorded = folder.settings.get("storage") if folder.exists else None
    storage = recorded if asked is None else absolute(asked)
    root, state = folder.root_in(storage), folder.state()
    if state.created is None or not state.useful_checkpoints or {root, folder.root} == {str(folder.path)}:
        return storage
    owner = _owner(RemoteFolder(root, patience=START_PATIENCE))
    if owner is None or owner.sweep_id != state.created.sweep_id:
        raise ConfigError(
            f"{root} does not contain the checkpoints of sweep {folder.name!r}; "
            + (
                f"if you moved them, run: {continue_command('resume', folder.path)} --storage FOLDER"
                if root == folder.root
                else f"omit --storage, or first copy all of {folder.root} there"
            )
        )
    return storage


def _owner(remote: RemoteFolder) -> Owner | None:
    try:
        return Owner.of(remote)
    except OSError as error:
        raise GensweepError(f"{remote.place} cannot be read: {error}") from error


def probe(root: str, *, patience: float = START_PATIENCE) -> None:
    """Write, read and delete a small file in a storage.  Raises GensweepError if that fails."""
    content, name = uuid4().hex.encode(), f"probe-{socket.gethostname()}-{uuid4().hex[:8]}"
    try:
        remote = RemoteFolder(root, patience=patience)
        remote.write(name, content)
        back = remote.read(name)
        remote.delete(name)
        if back != content:
            raise OSError("a test file was read back with other content")
    except OSError as error:
        why = None if is_url(root) else file_problem(error)
        why = why or (
            f"{error}; check its name, its options (such as ?region=... or ?endpoint_override=...) and that "
            "this machine can write, read and delete there"
        )
        raise GensweepError(f"the storage {root} cannot be used from {socket.gethostname()}: {why}") from error


@cache
def worker_problem(root: str, *, own: bool) -> str | None:
    """Why this process cannot use the storage of a sweep (or its `own` folder); cached."""
    if own and not (Path(root) / SETTINGS_FILE).is_file():
        return (
            f"checkpoints would go to {root} on the driver's machine, which {socket.gethostname()} cannot read; use a "
            "storage that all machines reach: --storage s3://BUCKET/sweeps, or a shared folder with --storage FOLDER"
        )
    try:
        if not own:
            probe(root, patience=PATIENCE)
    except GensweepError as error:
        return str(error)
    return None


@contextmanager
def held_storage(folder: SweepFolder, asked: str | None, settings: dict[str, Any]) -> Iterator[HeldStorage]:
    """Claim the storage of a sweep for this driver, and create or update its folder; release the claim at the end.

    `asked` is the value of --storage; `settings` are added to a new sweep.json.  Raises ConfigError for a place with
    another sweep or without this one's checkpoints; GensweepError if another driver runs this sweep or the storage
    is not usable.
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
        begun = Owner.of(remote) if folder.exists else None  # a folder created from the storage
        sweep_id = folder.sweep_id or (uuid4().hex if begun is None else begun.sweep_id)
        ownership = Ownership(remote, sweep_id, folder.path)
        position, superseded = reconcile(folder, remote)
        if superseded is not None:
            _log.warning("%s", superseded)
        fetch_files(folder, remote)
        _complete(folder, settings, storage)
        copy = StoredCopy(folder, remote, ownership.owner.epoch, position)
        copy.store(folder.path / SETTINGS_FILE)
        copy.store_plugins()
        unused = _unused(folder)
    except OSError as error:
        raise GensweepError(
            f"the storage of sweep {folder.name!r} is not reachable: {error}; try again later"
        ) from error
    sync = StorageSync(folder, copy, ownership)
    for name in unused:
        sync.later(partial(folder.delete, name))
    try:
        yield HeldStorage(root, sync, sweep_id)
    finally:
        if missing := sync.close():
            _log.warning(
                "%s lacks the last %d bytes of the log; to send them, run on this machine: %s",
                root,
                missing,
                continue_command("resume", folder.path),
            )


def _complete(folder: SweepFolder, settings: dict[str, Any], storage: str | None) -> None:
    """Write sweep.json if it is missing or names another storage."""
    before = folder.settings if folder.exists else settings
    if not folder.exists or before.get("storage") != storage:
        folder.create({**before, "storage": storage})


def _unused(folder: SweepFolder) -> list[str]:
    """Unused checkpoints that a crashed driver has left."""
    state = folder.state()  # without a log, they may be the start of the first trial
    return [] if state.created is None else unused_checkpoints(folder.root, state.useful_checkpoints)


def attach(root: Path, place: str) -> tuple[str, str]:
    """Create the local folder of a sweep in a storage; returns the sweep's name and the storage.

    Raises ConfigError if the storage has no sweep there, or if the folder belongs to another sweep.
    """
    stored = _stored_sweep(place)
    storage, name = split_place(stored.remote.place)
    folder = SweepFolder(root, name)
    here = folder.sweep_id
    if here is None:  # an interrupted attach, or another sweep
        is_another = folder.exists and folder.settings.get("sweep") != stored.settings.get("sweep")
    else:
        is_another = here != stored.owner.sweep_id
    if is_another:
        raise ConfigError(
            f"{folder.path} belongs to another sweep than {place}; move it, or choose another folder with --sweeps"
        )
    if here is None:
        stored.copy_to(folder)
    elif not folder.exists:  # its log may be newer than the storage's
        folder.create({**stored.settings, "storage": storage})
    return name, storage


def read_copy(place: str, cache: Path) -> SweepFolder:
    """The sweep's folder at a path, or an up-to-date cached copy of one in a storage.

    Raises ConfigError if there is no sweep, GensweepError if the storage is not readable.
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
    """A sweep in a storage: its owner, sweep.json and log."""

    remote: RemoteFolder
    owner: Owner
    settings: dict[str, Any]
    log: bytes

    def copy_to(self, folder: SweepFolder) -> None:
        """Copy the sweep into a folder.  sweep.json is last, so an interrupted copy can be repeated."""
        try:
            fetch_files(folder, self.remote)
            write_bytes(folder.log.file, self.log)
        except OSError as error:
            raise GensweepError(f"{self.remote.place} cannot be read: {error}") from error
        folder.create({**self.settings, "storage": split_place(self.remote.place)[0]})


def _stored_sweep(place: str) -> _StoredSweep:
    """The sweep at a path or URL.  Raises ConfigError if there is none, GensweepError if it cannot be read."""
    check_without_secret("the path of a sweep", place)
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
        raise ConfigError(f"{place} is the folder of a sweep; resume it by its name: {command}")
    raise ConfigError(
        f"{place} contains no sweep; give the storage with the sweep's name, such as s3://bucket/sweeps/NAME"
    )
