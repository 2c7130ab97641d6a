"""Checkpoint folders in a sweep's storage: a local or shared folder, or a URL such as s3://bucket/sweeps.

A folder that is there is whole: it is written aside, flushed, then renamed.  An object store has no rename; there each
file is sent until it has arrived, and a manifest with names, sizes and hashes comes last.  What it does not describe
truly is not whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gensweep.errors import GensweepError
from gensweep.files import file_sha256, parse_json, path_within, replace_folder, replacing, write_bytes
from gensweep.remote_folder import PATIENCE, RemoteFolder, below, is_url
from gensweep.sweep.events import CHECKPOINT_NAME

#: The file that makes a checkpoint at a URL whole.
MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
CHECKPOINTS = "checkpoints"
#: Files of a checkpoint that are sent or fetched at the same time.
TRANSFERS_AT_ONCE = 4
#: Seconds for which the driver tries to fetch a small file or to delete something: it waits, and with it all trials.
DRIVER_PATIENCE = 10.0


class IncompleteCheckpointError(OSError):
    """A checkpoint at a URL is not what its manifest says, or has none."""


def checkpoint_name(trial: str, images: int) -> str:
    """The name of a trial's checkpoint after some training images."""
    return f"{trial}/{images:012d}"


def checkpoint_place(root: str, name: str) -> str:
    """Where a checkpoint lies, path or URL, below the root of its sweep."""
    return below(root, CHECKPOINTS, name)


def store(folder: Path, uri: str) -> None:
    """Copy a local folder to `uri`, replacing what is there, all or nothing.  Raises OSError if that fails for long."""
    files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    if not is_url(uri):
        target = Path(uri)
        aside = _aside(target)
        try:
            for name, file in files.items():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, aside / name)
            replace_folder(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)  # of a full disk a half would take the last room
        return
    remote = RemoteFolder(uri)
    remote.delete(MANIFEST)  # what lies there is not whole from now on
    with ThreadPoolExecutor(TRANSFERS_AT_ONCE) as pool:
        list(pool.map(lambda name: remote.upload(files[name], name), files))
    described = {name: {"size": file.stat().st_size, "sha256": file_sha256(file)} for name, file in files.items()}
    remote.write(MANIFEST, json.dumps({"format": MANIFEST_FORMAT, "files": described}, indent=1).encode())


def fetch(uri: str, copy: Path, *, patience: float = PATIENCE) -> Path:
    """The folder at `uri` on this machine: itself if it is local, else `copy`, which is made once.

    Raises IncompleteCheckpointError if a file is missing or damaged, another OSError if the storage does not answer,
    GensweepError if a name leads out of the folder.
    """
    if not is_url(uri):
        return Path(uri)
    if not copy.is_dir():
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Each command has a folder of its own: several may fetch the same checkpoint at once.
        with TemporaryDirectory(dir=copy.parent, prefix=f".{copy.name}.") as folder:
            aside = Path(folder) / copy.name
            _download(uri, aside, patience)
            try:
                aside.rename(copy)
            except OSError:
                if not copy.is_dir():  # else another one was faster
                    raise
    return copy


def _download(uri: str, folder: Path, patience: float) -> None:
    remote = RemoteFolder(uri, patience=patience)
    expected = _manifest(remote)
    files = {name: path_within(folder, name, f"{MANIFEST} of the checkpoint {uri}") for name in expected}
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)

    def download(name: str) -> None:
        try:
            remote.download(name, files[name])
        except FileNotFoundError:
            raise IncompleteCheckpointError(f"the checkpoint {uri} lacks {name}") from None
        if file_sha256(files[name]) != expected[name]:
            raise IncompleteCheckpointError(f"{name} of the checkpoint {uri} is damaged")

    with ThreadPoolExecutor(TRANSFERS_AT_ONCE) as pool:
        list(pool.map(download, expected))


def fetch_file(uri: str, name: str, target: Path) -> bool:
    """Copy one small file of a checkpoint to a local one, as a whole; False if the checkpoint has no such file.

    Raises OSError if the storage does not answer for some seconds.
    """
    try:
        if is_url(uri):
            write_bytes(target, RemoteFolder(uri, patience=DRIVER_PATIENCE).read(name))
        else:
            with replacing(target) as aside:
                shutil.copyfile(Path(uri) / name, aside)
    except FileNotFoundError:
        return False
    return True


def delete(uri: str) -> None:
    """Remove a folder; that it is gone already is fine.  Raises OSError if that fails."""
    if is_url(uri):
        RemoteFolder(uri, patience=DRIVER_PATIENCE).delete_all()
    else:
        shutil.rmtree(uri, ignore_errors=True)


@contextmanager
def removing_partial(sweep: Path) -> Iterator[None]:
    """Remove, at the end, what workers that were ended while they saved have left in a sweep's own folder."""
    try:
        yield
    finally:
        for partial in (sweep / CHECKPOINTS).glob("*/.*.part"):
            shutil.rmtree(partial, ignore_errors=True)


def unused_checkpoints(root: str, useful: Collection[str]) -> list[str]:
    """The names of checkpoints below the root of a sweep, whole or in part, that are not among the useful ones."""
    found = {"/".join(file.split("/")[:2]) for file in RemoteFolder(below(root, CHECKPOINTS)).files()}
    return sorted(name for name in found - set(useful) if CHECKPOINT_NAME.fullmatch(name))


def check_visible(uri: str) -> None:
    """Raises GensweepError if a checkpoint that a worker wrote to a folder is not there on this machine."""
    if not is_url(uri) and not Path(uri).is_dir():
        raise GensweepError(
            f"a worker on another machine wrote {uri}, which this machine cannot read; give all machines the same "
            "storage: --storage with a shared folder or a URL such as s3://bucket/sweeps"
        )


def _manifest(remote: RemoteFolder) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint."""
    try:
        content: dict[str, Any] = parse_json(remote.read(MANIFEST))
        return {name: str(file["sha256"]) for name, file in content["files"].items()}
    except FileNotFoundError:
        raise IncompleteCheckpointError(f"the checkpoint {remote.place} is incomplete") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IncompleteCheckpointError(f"{MANIFEST} of the checkpoint {remote.place} is damaged") from None


def _aside(target: Path) -> Path:
    """A name for the folder while it is incomplete, not taken, in a folder that exists."""
    aside = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    return aside
