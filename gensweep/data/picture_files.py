"""Files below a folder that should hold pictures: finding them, decoding them in parallel, telling what went wrong."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
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


def file_names(folder: Path, root: Path | None = None) -> tuple[list[str], list[str]]:
    """Names of all files below a folder, and those of links that lead out of `root`, by default the folder itself.

    They are relative and with "/".  Other links are followed, each once; hidden files and folders are left out.
    Raises ConfigError for a folder that cannot be listed, as without its pictures labels would mean something else.
    """
    bounds, seen = os.path.realpath(root or folder), set[str]()
    files, outside = list[str](), list[str]()
    for path, folders, found in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        shown = [name for name in (*folders, *found) if not name.startswith(".")]
        away = {name for name in shown if _leads_out(Path(path, name), bounds)}
        relative, inside = Path(path).relative_to(folder), sorted(set(shown) - away)
        folders[:] = [name for name in inside if name in folders]
        files += ((relative / name).as_posix() for name in inside if name not in folders)
        outside += ((relative / name).as_posix() for name in sorted(away))
    return files, outside


def _refuse(error: OSError) -> None:
    raise ConfigError(
        f"{error.filename} cannot be listed ({error.strerror}); make it readable, or move it away from the pictures"
    ) from error


def _leads_out(path: Path, root: str) -> bool:
    return path.is_symlink() and path.exists() and not path.resolve().is_relative_to(root)


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


def skipped_notes(unreadable: Mapping[str, str], outside: Sequence[str]) -> tuple[str, ...]:
    """A line on the files that could not be read and one on links that lead out of the folder, if there are any."""
    notes = []
    if unreadable:
        told = [f"{name} ({reason})" for name, reason in zip(_shown(unreadable), unreadable.values(), strict=False)]
        notes.append(f"{len(unreadable)} files cannot be read and are left out: {_first(told, len(unreadable))}")
    if outside:
        notes.append(
            f"{len(outside)} links lead out of the folder and are not followed: {_first(_shown(outside), len(outside))}"
        )
    return tuple(notes)


def _shown(files: Iterable[str]) -> list[str]:
    """The first names; one need not be text, and what is not is shown as a question mark."""
    return [os.fsencode(file).decode(errors="replace") for file in islice(files, MAX_FILES_NAMED)]


def _first(told: Sequence[str], count: int) -> str:
    return "; ".join(told) + (f"; and {count - len(told)} more" if count > len(told) else "")
