"""Pictures that another program has drawn, in a folder: as many as a score needs, alike on every machine."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from gensweep.data.picture_decoding import decoded, picture_formats
from gensweep.data.picture_files import decode_files, is_picture, list_files, shuffle_key, skipped_notes
from gensweep.errors import ConfigError


@dataclass(frozen=True, eq=False)
class ImportedPictures:
    """Pixels in the order of their scoring, their SHA-256, and notes on what was left out or changed.

    `files` are their names, relative to the folder.
    """

    pixels: UInt8[np.ndarray, "n c h w"]
    sha256: str
    notes: tuple[str, ...]
    files: tuple[str, ...]


def read_folder(
    folder: Path, count: int, *, size: int, channels: int, progress: Callable[[int], None] | None = None
) -> ImportedPictures:
    """The first `count` pictures below a folder that can be read, in the order of a hash of their names.

    So of more pictures than are needed a fair mix is taken, whatever sub-folders they lie in.  Pictures are brought to
    `size` x `size` pixels and `channels` like those of the data set image_folder, see `picture_decoding`.
    `progress` gets the number that has been read.  Raises ConfigError if there are fewer pictures, or no such folder.
    """

    def read(path: Path) -> tuple[UInt8[np.ndarray, "c h w"], tuple[str, ...]]:
        with Image.open(path, formats=picture_formats()) as file:
            changes = tuple(_changes(file, size, channels))
        return decoded(path, size, channels), changes

    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; name one that holds pictures")
    listing = list_files(folder)
    names = sorted(filter(is_picture, listing.files), key=lambda name: (shuffle_key(name), name))
    found, unreadable = decode_files(folder, names, read, limit=count, progress=progress)
    notes = skipped_notes(unreadable, listing)
    if len(found) < count:
        skipped = "; ".join(notes)
        if not found:
            raise ConfigError(
                f"{folder}: there is nothing to score: {skipped or 'no file in it is a picture, by its name'}"
            )
        some = f", or score {len(found)} with --samples {len(found)}: then it is ranked only with such scores"
        raise ConfigError(
            f"{folder} holds {len(found):,} pictures, but {count:,} are needed{f' ({skipped})' if skipped else ''}; "
            f"add {count - len(found):,}{some if len(found) > 1 else ''}"
        )
    if len(names) > count + len(unreadable):
        notes = (f"{count:,} of its {len(names):,} pictures are scored, chosen by a hash of their names", *notes)
    # Decoded pictures lie in memory pixel by pixel, and their stack would, too.
    pixels = np.ascontiguousarray(np.stack([picture for picture, _ in found.values()]))
    changed = Counter(change for _, each in found.values() for change in each)
    changes = tuple(f"{number:,} of {count:,} pictures are {change}" for change, number in sorted(changed.items()))
    return ImportedPictures(pixels, hashlib.sha256(pixels.data).hexdigest(), (*notes, *changes), tuple(found))


def _changes(picture: Image.Image, size: int, channels: int) -> Iterator[str]:
    """How a picture differs from what can be scored, and what is done about it."""
    deep = picture.mode.startswith(("I", "F"))
    grey = deep or picture.mode in ("1", "L", "LA", "La")
    if picture.size != (size, size):
        yield f"of another size: the square in the middle is resized to {size}x{size}"
    if deep:
        yield "of more than 8 bits a value: scaled to 8"
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        yield "transparent: laid on white"
    if grey != (channels == 1):
        yield "grey: taken as RGB" if grey else "coloured: turned grey"
