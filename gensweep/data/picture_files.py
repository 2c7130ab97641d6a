"""Files below a folder that should hold pictures: finding them, decoding them in parallel, telling what went wrong."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from PIL import UnidentifiedImageError

from gensweep.data.picture_decoding import HEIC_NEEDED, PICTURE_SUFFIXES, lacks_heic_reader
from gensweep.errors import ConfigError

T = TypeVar("T")

#: Unreadable files that a message names; it counts the others.
MAX_FILES_NAMED = 5
#: Files that the threads read between two reports of progress.
FILES_PER_BATCH = 1024


class FolderListing(NamedTuple):
    """The files below a folder, and links, which are not followed; names are relative to the folder, with "/"."""

    files: list[str]
    links: list[str]


def list_files(folder: Path) -> FolderListing:
    """List the files below a folder; hidden files and folders are left out.

    Raises ConfigError for a folder that cannot be listed, as without its pictures labels would mean something else.
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
        f"{error.filename} cannot be listed ({error.strerror}); make it readable, or move it away from the pictures"
    ) from error


def is_picture(file: str) -> bool:
    """Whether a file should hold a picture, by its name."""
    return PurePosixPath(file).suffix.lower() in PICTURE_SUFFIXES


def shuffle_key(file: str) -> float:
    """A number in [0, 1) that depends on a file's name alone: it shuffles and splits, alike on every machine."""
    return int.from_bytes(hashlib.sha256(file.encode(errors="surrogateescape")).digest()[:6]) / 2**48


def decode_files(
    folder: Path,
    files: Sequence[str],
    decode: Callable[[Path], T],
    *,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, T], dict[str, str]]:
    """Decode files in their order, in parallel, until `limit` could be read; the others are named with a reason.

    `progress` gets the number that could be read so far.  A ConfigError of `decode` goes through.
    """
    rest, wanted = iter(files), len(files) if limit is None else limit
    found: dict[str, T] = {}
    unreadable: dict[str, str] = {}

    def attempt(file: str) -> tuple[T | None, str]:
        path = folder / file
        try:
            if path.exists() and not path.is_file():
                # A pipe would be waited for, for ever.
                return None, "no regular file"
            return decode(path), ""
        except ConfigError:
            raise
        except UnidentifiedImageError:
            return None, HEIC_NEEDED if lacks_heic_reader(file) else "no picture in a format that is known"
        except Exception as error:  # decoders raise all sorts of things, and no single file may be fatal
            return None, f"{type(error).__name__}: {error}"

    # Decoding happens outside Python's lock, so threads do it in parallel.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # about odd metadata, thousands of times
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
    """A line on each kind of file and link that is left out."""
    heic = [file for file, reason in unreadable.items() if reason == HEIC_NEEDED]
    broken = {file: reason for file, reason in unreadable.items() if reason != HEIC_NEEDED}
    notes = []
    if heic:
        suffixes = " and ".join(sorted({PurePosixPath(file).suffix.lower() for file in heic}))
        notes.append(f"{counted(len(heic), f'{suffixes} file needs', f'{suffixes} files need')}: {HEIC_NEEDED}")
    if broken:
        reasons = [f"{name} ({reason})" for name, reason in zip(_shown(broken), broken.values(), strict=False)]
        files = counted(len(broken), "file cannot be read and is left out", "files cannot be read and are left out")
        notes.append(f"{files}: {_first(reasons, len(broken))}")
    if links := listing.links:
        what = counted(len(links), "link is not followed", "links are not followed")
        notes.append(f"{what}: {_first(_shown(links), len(links))}")
    return tuple(notes)


def suffixes_note(files: Iterable[str]) -> str:
    """The suffixes of some files, the most frequent first: ".txt, .mov"."""
    found = Counter(PurePosixPath(file).suffix.lower() or "no suffix" for file in files)
    return ", ".join(
        [suffix for suffix, _ in found.most_common(MAX_FILES_NAMED)] + ["..."] * (len(found) > MAX_FILES_NAMED)
    )


def counted(number: int, one: str, many: str) -> str:
    """A number with the noun in the singular or plural: "1 file", "2 files"."""
    return f"{number:,} {one if number == 1 else many}"


def printable(file: str) -> str:
    """A file's name as text; bytes that are not text become question marks."""
    return os.fsencode(file).decode(errors="replace")


def _shown(files: Iterable[str]) -> list[str]:
    return [printable(file) for file in islice(files, MAX_FILES_NAMED)]


def _first(told: Sequence[str], count: int) -> str:
    return "; ".join(told) + (f"; and {count - len(told)} more" if count > len(told) else "")
