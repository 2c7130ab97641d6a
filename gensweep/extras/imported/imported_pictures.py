"""Pictures of another program in a folder: the number that a score needs, the same on every machine."""

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
    """Pixels in the order of scoring, their SHA-256, and notes on skipped or changed pictures.

    `files` are file names relative to the folder.
    """

    pixels: UInt8[np.ndarray, "n c h w"]
    sha256: str
    notes: tuple[str, ...]
    files: tuple[str, ...]


def read_folder(
    folder: Path, count: int, *, size: int, channels: int, progress: Callable[[int], None] | None = None
) -> ImportedPictures:
    """The first `count` readable pictures below a folder, in the order of a hash of their names.

    The hash gives a fair mix of subfolders.  Pictures are converted to `size` x `size` pixels and `channels` like those
    of the data set image_folder, see `picture_decoding`.  `progress` receives the number read so far.  Raises
    ConfigError if the folder does not exist or has fewer pictures.
    """

    def read(path: Path) -> tuple[UInt8[np.ndarray, "c h w"], tuple[str, ...]]:
        with Image.open(path, formats=picture_formats()) as file:
            changes = tuple(_changes(file, size, channels))
        return decoded(path, size, channels), changes

    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; name a folder of pictures")
    listing = list_files(folder)
    names = sorted(filter(is_picture, listing.files), key=lambda name: (shuffle_key(name), name))
    found, unreadable = decode_files(folder, names, read, limit=count, progress=progress)
    notes = skipped_notes(unreadable, listing)
    if len(found) < count:
        skipped = "; ".join(notes)
        if not found:
            raise ConfigError(f"{folder} has nothing to score: {skipped or 'it has no picture file'}")
        some = f", or score {len(found)} with --samples {len(found)} (not comparable with other numbers of samples)"
        raise ConfigError(
            f"{folder} has {len(found):,} pictures, but {count:,} are needed{f' ({skipped})' if skipped else ''}; "
            f"add {count - len(found):,}{some if len(found) > 1 else ''}"
        )
    if len(names) > count + len(unreadable):
        notes = (f"{count:,} of its {len(names):,} pictures are scored, chosen by a hash of their names", *notes)
    # Decoded pictures are stored pixel by pixel, and so would be their stack.
    pixels = np.ascontiguousarray(np.stack([picture for picture, _ in found.values()]))
    changed = Counter(change for _, each in found.values() for change in each)
    changes = tuple(f"{number:,} of {count:,} pictures are {change}" for change, number in sorted(changed.items()))
    return ImportedPictures(pixels, hashlib.sha256(pixels.data).hexdigest(), (*notes, *changes), tuple(found))


def _changes(picture: Image.Image, size: int, channels: int) -> Iterator[str]:
    """How a picture is converted to fit the score."""
    deep = picture.mode.startswith(("I", "F"))
    grey = deep or picture.mode in ("1", "L", "LA", "La")
    if picture.size != (size, size):
        yield f"of another size: the central square is resized to {size}x{size}"
    if deep:
        yield "of more than 8 bits per value: scaled to 8"
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        yield "transparent: put on white"
    if grey != (channels == 1):
        yield "grey: converted to RGB" if grey else "coloured: converted to grey"
