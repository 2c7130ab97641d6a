"""Files below a folder of pictures: list them, decode them in parallel, and report errors."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import numpy as np
import PIL
from jaxtyping import Int64, UInt8
from PIL import UnidentifiedImageError

from gensweep.data.picture_decoding import HEIC_NEEDED, PICTURE_SUFFIXES, decoded, heic_version, lacks_heic_reader
from gensweep.errors import ConfigError
from gensweep.files import locked, replacing

T = TypeVar("T")

#: Number of files that a message names; it counts the others.
MAX_NAMED = 5
#: Files to read between two progress reports.
FILES_PER_BATCH = 1024


class FolderListing(NamedTuple):
    """Files below a folder, and links, which are not followed; names are relative, with "/"."""

    files: list[str]
    links: list[str]


def list_files(folder: Path) -> FolderListing:
    """List the files below a folder, without hidden files and folders.

    Raises ConfigError for an unreadable folder: without its pictures, the labels would change.
    """
    listing = FolderListing([], [])
    for path, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for each in (Path(path, name) for name in (*folders, *sorted(files)) if not name.startswith(".")):
            if each.is_symlink():
                listing.links.append(each.relative_to(folder).as_posix())
            elif each.name not in folders:
                listing.files.append(each.relative_to(folder).as_posix())
    return listing


def _refuse(error: OSError) -> None:
    raise ConfigError(
        f"{error.filename} cannot be listed ({error.strerror}); make it readable, or move it elsewhere"
    ) from error


def is_picture(file: str) -> bool:
    """True if a file should be a picture, by its name."""
    return file[file.rfind(".") :].lower() in PICTURE_SUFFIXES  # a path object for each of a million files is slow


def shuffle_key(file: str) -> float:
    """A number in [0, 1) from a file's name alone, for shuffling and splitting; equal on every machine."""
    return int.from_bytes(hashlib.sha256(file.encode(errors="surrogateescape")).digest()[:6]) / 2**48


def decode_files(
    folder: Path,
    files: Sequence[str],
    decode: Callable[[Path], T],
    *,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, T], dict[str, str]]:
    """Decode files in order, in parallel, until `limit` succeeded; failures are returned with a reason.

    `progress` receives the number of files read so far.  A ConfigError from `decode` is raised.
    """
    rest, wanted = iter(files), len(files) if limit is None else limit
    found: dict[str, T] = {}
    unreadable: dict[str, str] = {}

    def attempt(file: str) -> tuple[T | None, str]:
        path = folder / file
        try:
            if path.exists() and not path.is_file():
                # Reading a pipe could block forever.
                return None, "not a regular file"
            return decode(path), ""
        except ConfigError:
            raise
        except UnidentifiedImageError:
            return None, HEIC_NEEDED if lacks_heic_reader(file) else "not in a known picture format"
        except Exception as error:  # decoders raise many types; no single file may be fatal
            return None, f"{type(error).__name__}: {error}"

    # Decoding releases the GIL, so threads run in parallel.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # about unusual metadata, thousands of times
        while batch := list(islice(rest, min(FILES_PER_BATCH, wanted - len(found)))):
            for file, (picture, reason) in zip(batch, pool.map(attempt, batch), strict=True):
                if picture is None:
                    unreadable[file] = reason
                else:
                    found[file] = picture
            if progress is not None:
                progress(len(found))
    return found, unreadable


def skipped_notes(unreadable: Mapping[str, str], listing: FolderListing) -> tuple[str, ...]:
    """A line for each kind of skipped file and link."""
    heic = [file for file, reason in unreadable.items() if reason == HEIC_NEEDED]
    broken = [f"{printable(file)} ({reason})" for file, reason in unreadable.items() if reason != HEIC_NEEDED]
    notes = []
    if heic:
        suffixes = " and ".join(sorted({PurePosixPath(file).suffix.lower() for file in heic}))
        notes.append(f"{counted(len(heic), f'{suffixes} file needs', f'{suffixes} files need')}: {HEIC_NEEDED}")
    if broken:
        files = counted(len(broken), "file cannot be read and is left out", "files cannot be read and are left out")
        notes.append(f"{files}: {first_of(broken)}")
    if listing.links:
        links = counted(len(listing.links), "link is not followed", "links are not followed")
        notes.append(f"{links}: {first_of([printable(file) for file in listing.links])}")
    return tuple(notes)


def counted(number: int, one: str, many: str) -> str:
    """Format a number with its noun: "1 file", "2 files"."""
    return f"{number:,} {one if number == 1 else many}"


def printable(file: str) -> str:
    """A file's name as text; undecodable bytes become question marks."""
    return os.fsencode(file).decode(errors="replace")


def first_of(words: Sequence[str]) -> str:
    """The first MAX_NAMED words, and the number of others."""
    more = [f"and {len(words) - MAX_NAMED} more"] if len(words) > MAX_NAMED else []
    return "; ".join([*words[:MAX_NAMED], *more])


@dataclass(frozen=True, eq=False)
class DecodedPictures:
    """Pictures of a folder as squares, with labels, and the errors of unreadable files."""

    pixels: UInt8[np.ndarray, "n c h w"]
    labels: Int64[np.ndarray, " n"]
    unreadable: dict[str, str]


def cached_pictures(folder: Path, pictures: Mapping[str, int], root: Path, use: dict[str, Any]) -> DecodedPictures:
    """Decode pictures of a folder, or read the cached result of an earlier call with the same files.

    `pictures` are labels by file; `use` is the cache key of the settings: size, channels, limit and others.
    """
    states = [(file, label, *_state(folder / file)) for file, label in pictures.items()]
    purpose = json.dumps([str(folder), use])
    key = hashlib.sha256(json.dumps([purpose, PIL.__version__, heic_version(), states]).encode()).hexdigest()
    # One cache entry per folder and settings, replaced when a file changes, so the cache does not grow.
    entry = root / "image_folder" / f"{hashlib.sha256(purpose.encode()).hexdigest()[:16]}.npz"
    with locked(entry):
        # Rebuild a missing or damaged entry.
        torn = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
        with suppress(*torn), entry.open("rb") as file, np.load(file) as arrays:
            if str(arrays["key"]) == key:
                return DecodedPictures(arrays["pixels"], arrays["labels"], json.loads(str(arrays["unreadable"])))
        found = _decode(folder, pictures, use)
        # A full disk only makes the next call slower.
        with suppress(OSError), replacing(entry) as path:
            unreadable = json.dumps(found.unreadable)
            np.savez(path, key=key, pixels=found.pixels, labels=found.labels, unreadable=unreadable)
    return found


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:  # a broken link
        return 0, 0, 0
    # A file moved over another keeps its mtime, but gets a new ctime.
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _decode(folder: Path, pictures: Mapping[str, int], use: Mapping[str, Any]) -> DecodedPictures:
    """Decode pictures in order until `limit` succeeded; failures are returned with a reason."""
    size, channels = use["size"], use["channels"]
    decode = partial(decoded, size=size, channels=channels)
    found, unreadable = decode_files(folder, list(pictures), decode, limit=use["limit"])
    pixels = np.stack([*found.values()]) if found else np.empty((0, channels, size, size), dtype=np.uint8)
    labels = np.array([pictures[file] for file in found], dtype=np.int64)
    return DecodedPictures(pixels, labels, unreadable)
