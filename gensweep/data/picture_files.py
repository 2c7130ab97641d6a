"""Files below a folder that should hold pictures: finding them, decoding them in parallel, telling what went wrong."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from PIL import UnidentifiedImageError

from gensweep.data.picture_decoding import PICTURE_SUFFIXES
from gensweep.errors import ConfigError

T = TypeVar("T")

#: Unreadable files that a message names; it counts the others.
MAX_FILES_NAMED = 5
#: Files that the threads read between two reports of progress.
FILES_PER_BATCH = 1024


def file_names(folder: Path) -> Iterator[str]:
    """Names of all files, relative and with "/"; links are followed once, hidden files and folders are skipped."""
    seen = set()
    for path, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            seen.add(real)
            relative = Path(path).relative_to(folder)
            yield from ((relative / name).as_posix() for name in files if not name.startswith("."))


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
        if path.exists() and not path.is_file():
            # A pipe would be waited for, for ever.
            return None, "no regular file"
        try:
            return decode(path), ""
        except ConfigError:
            raise
        except UnidentifiedImageError:
            return None, "no picture in a format that is known"
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


def unreadable_note(unreadable: Mapping[str, str]) -> tuple[str, ...]:
    """One line on the files that could not be read, or none."""
    if not unreadable:
        return ()
    # A name need not be text; what is not is shown as a question mark.
    shown = {
        os.fsencode(file).decode(errors="replace"): reason
        for file, reason in islice(unreadable.items(), MAX_FILES_NAMED)
    }
    named = "; ".join(f"{file} ({reason})" for file, reason in shown.items())
    more = f"; and {len(unreadable) - MAX_FILES_NAMED} more" if len(unreadable) > MAX_FILES_NAMED else ""
    return (f"{len(unreadable)} files cannot be read and are left out: {named}{more}",)
