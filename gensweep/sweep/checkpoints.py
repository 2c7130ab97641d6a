"""Checkpoint folders in a sweep's storage: a local or shared folder, or a URL such as s3://bucket/sweeps.

A folder that exists is complete: it is written under another name, flushed and renamed.  An object store has no
rename, so its files come first, then a manifest of names, sizes and hashes.  Without a matching manifest the
checkpoint is incomplete.
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

#: The manifest, written last, that makes a checkpoint at a URL complete.
MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
CHECKPOINTS = "checkpoints"
#: Files of a checkpoint that are transferred at the same time.
TRANSFERS_AT_ONCE = 4
#: Seconds for which the driver retries a small transfer or a deletion; all trials wait meanwhile.
DRIVER_PATIENCE = 10.0


class IncompleteCheckpointError(OSError):
    """A checkpoint at a URL has no manifest, or does not match it."""


def checkpoint_name(trial: str, images: int) -> str:
    """The name of a trial's checkpoint after `images` training images."""
    return f"{trial}/{images:012d}"


def checkpoint_place(root: str, name: str) -> str:
    """The path or URL of a checkpoint below the root of its sweep."""
    return below(root, CHECKPOINTS, name)


def store(folder: Path, uri: str) -> None:
    """Replace the folder at `uri` by a local folder, all or nothing.  Raises OSError if retries fail."""
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
            shutil.rmtree(aside, ignore_errors=True)  # a partial copy would fill the disk
        return
    remote = RemoteFolder(uri)
    remote.delete(MANIFEST)  # the old checkpoint is incomplete from now on
    with ThreadPoolExecutor(TRANSFERS_AT_ONCE) as pool:
        list(pool.map(lambda name: remote.upload(files[name], name), files))
    described = {name: {"size": file.stat().st_size, "sha256": file_sha256(file)} for name, file in files.items()}
    remote.write(MANIFEST, json.dumps({"format": MANIFEST_FORMAT, "files": described}, indent=1).encode())


def fetch(uri: str, copy: Path, *, patience: float = PATIENCE) -> Path:
    """The folder at `uri` itself if it is local, else its local `copy`, fetched once.

    Raises IncompleteCheckpointError if a file is missing or damaged, OSError if the storage is not reachable,
    GensweepError if a file name points outside the folder.
    """
    if not is_url(uri):
        return Path(uri)
    if not copy.is_dir():
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Each process has its own temporary folder, because several may fetch the same checkpoint at once.
        with TemporaryDirectory(dir=copy.parent, prefix=f".{copy.name}.") as folder:
            aside = Path(folder) / copy.name
            _download(uri, aside, patience)
            try:
                aside.rename(copy)
            except OSError:
                if not copy.is_dir():  # else another process was faster
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
    """Fetch one small file of a checkpoint; False if it has none.  Raises OSError if unreachable."""
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
    """Remove a folder, if it exists.  Raises OSError if that fails."""
    if is_url(uri):
        RemoteFolder(uri, patience=DRIVER_PATIENCE).delete_all()
    else:
        shutil.rmtree(uri, ignore_errors=True)


@contextmanager
def removing_partial(sweep: Path) -> Iterator[None]:
    """Remove the partial checkpoints of killed workers from a sweep's own folder."""
    try:
        yield
    finally:
        for partial in (sweep / CHECKPOINTS).glob("*/.*.part"):
            shutil.rmtree(partial, ignore_errors=True)


def unused_checkpoints(root: str, useful: Collection[str]) -> list[str]:
    """Names of the checkpoints of a sweep, complete or not, that are not in `useful`."""
    found = {"/".join(file.split("/")[:2]) for file in RemoteFolder(below(root, CHECKPOINTS)).files()}
    return sorted(name for name in found - set(useful) if CHECKPOINT_NAME.fullmatch(name))


def check_visible(uri: str) -> None:
    """Raises GensweepError if a worker wrote its checkpoint to a folder that this machine cannot read."""
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
    """An unused name, in an existing folder, for the folder while it is incomplete."""
    aside = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    return aside
