"""Measure, rename and remove sweeps, in their folders and in their storages."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import uuid4

from filelock import Timeout

from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.files import cache_folder
from gensweep.remote_folder import RemoteFolder, absolute, below
from gensweep.sweep.checkpoints import CHECKPOINTS
from gensweep.sweep.folder import SETTINGS_FILE, SweepFolder, SweepInUseError
from gensweep.sweep.ownership import OWNER_FILE, STALE_AFTER, Owner, Ownership
from gensweep.sweep.storage import START_PATIENCE, read_copy
from gensweep.sweep.stored_sweeps import StoredSweep, read_sweep

FETCHED = "fetched"
#: Folder, next to the sweeps, of sweeps whose removal has begun.
REMOVED = ".removed"
#: Seconds to wait for a process that sends the log to the tracking store.
LOCK_SECONDS = 10.0


class DiskUse(NamedTuple):
    """Bytes of a sweep in its folder and its storage, and how many of them are checkpoints."""

    total: int
    checkpoints: int


def disk_use(folder: SweepFolder) -> DiskUse:
    """The bytes of a sweep.  Raises OSError if its storage cannot be read."""
    places = {str(folder.path): (CHECKPOINTS, FETCHED), folder.root: (CHECKPOINTS,)}
    total = checkpoints = 0
    for place, kinds in places.items():
        for name, state in RemoteFolder(place, patience=START_PATIENCE).files().items():
            total += state.size
            checkpoints += state.size * name.startswith(tuple(f"{kind}/" for kind in kinds))
    return DiskUse(total, checkpoints)


def sweeps_in(storage: str) -> list[StoredSweep]:
    """The sweeps in a storage, from cached copies.  Raises NothingToCompareError if there are none."""
    try:
        files = RemoteFolder(absolute(storage), patience=START_PATIENCE).files()
    except OSError as error:
        raise GensweepError(f"{storage} cannot be read: {error}") from error
    names = [name.split("/")[0] for name in sorted(files) if name.count("/") == 1 and name.endswith(f"/{OWNER_FILE}")]
    if not names:
        raise NothingToCompareError(f"no sweep in {storage}; start one: gensweep tune quickstart --storage {storage}")
    return [_stored(read_copy(below(storage, name), cache_folder() / "sweeps")) for name in names]


def _stored(folder: SweepFolder) -> StoredSweep:
    """The sweep of a cached copy; it is running if its driver has renewed its claim lately."""
    owner = Owner.of(RemoteFolder(folder.root))
    is_driven = owner is not None and not owner.released and time.time() - owner.time < STALE_AFTER
    return StoredSweep(folder, folder.state()) if is_driven else read_sweep(folder)


def remove(folder: SweepFolder) -> None:
    """Remove a sweep, its storage first.  Raises SweepInUseError or SweepElsewhereError if it is running."""
    with _claimed(folder) as storage:
        if storage is not None:
            RemoteFolder(below(folder.root, CHECKPOINTS)).delete_all()
            RemoteFolder(folder.root).delete_all()
        removed = folder.path.parent / REMOVED
        removed.mkdir(exist_ok=True)
        folder.path.rename(removed / uuid4().hex)  # in one step, so that an interruption leaves no part of a sweep
    shutil.rmtree(removed, ignore_errors=True)


def remove_checkpoints(folder: SweepFolder) -> None:
    """Remove all checkpoints of a sweep; its log, scores and pictures stay.  Raises as `remove` does."""
    with _claimed(folder) as storage:
        RemoteFolder(below(folder.root, CHECKPOINTS)).delete_all()
        RemoteFolder(str(folder.path / FETCHED)).delete_all()
        if storage is not None:
            storage.renew(release=True)


def rename(folder: SweepFolder, name: str) -> SweepFolder:
    """Give a sweep another name, also in its storage; returns its new folder.

    Raises ConfigError if the name is taken or cannot name a sweep, else as `remove` does.
    """
    target = SweepFolder(folder.path.parent, name)
    if target.path.exists():
        raise ConfigError(f"{target.path} already exists; choose another name")
    settings = {**folder.settings, "sweep": {**folder.settings["sweep"], "name": name}}
    with _claimed(folder) as storage:
        if storage is not None:
            before, after = RemoteFolder(folder.root), RemoteFolder(target.root_in(folder.settings.get("storage")))
            claim = Ownership(after, storage.owner.sweep_id, target.path)
            for file in before.files():
                if file != OWNER_FILE:
                    before.copy(file, after)
        folder.create(settings)
        if storage is not None:
            after.upload(folder.path / SETTINGS_FILE, SETTINGS_FILE)
            claim.renew(release=True)
            before.delete_all()
        folder.optuna.unlink(missing_ok=True)  # it has the old name; the log rebuilds it
        folder.path.rename(target.path)  # last, so that the same command can finish an interrupted renaming
    return target


@contextmanager
def _claimed(folder: SweepFolder) -> Iterator[Ownership | None]:
    """Lock a sweep and claim its storage; None if that is its own folder."""
    with folder.locked():
        try:
            with folder.copy_lock().acquire(timeout=LOCK_SECONDS):
                if folder.root == str(folder.path):
                    yield None
                    return
                remote = RemoteFolder(folder.root, patience=START_PATIENCE)
                owner = Owner.of(remote)
                sweep_id = folder.sweep_id or (uuid4().hex if owner is None else owner.sweep_id)
                yield Ownership(remote, sweep_id, folder.path)
        except Timeout:
            raise SweepInUseError(f"another process sends sweep {folder.name!r} to MLflow; try again later") from None
        except OSError as error:
            raise GensweepError(f"sweep {folder.name!r}: {error}; run the command again to finish") from error
