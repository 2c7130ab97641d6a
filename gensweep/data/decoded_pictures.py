"""Pictures of a folder, decoded once in parallel and kept in the cache folder until a file changes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from jaxtyping import Int64, UInt8

from gensweep.cache import locked
from gensweep.data.picture_decoding import Original, decode_with_original, heic_version
from gensweep.data.picture_files import decode_files
from gensweep.files import replacing


@dataclass(frozen=True, eq=False)
class DecodedPictures:
    """Pictures of a folder as squares, with labels and what their files hold; and why other files are unreadable."""

    pixels: UInt8[np.ndarray, "n c h w"]
    labels: Int64[np.ndarray, " n"]
    originals: tuple[Original, ...]
    unreadable: dict[str, str]


def cached_pictures(folder: Path, pictures: Mapping[str, int], root: Path, use: dict[str, Any]) -> DecodedPictures:
    """Decode pictures of a folder, or read the result of an earlier call with the same files.

    `pictures` are labels by file; `use` holds size, channels, limit, and what else keeps results of a folder apart.
    """
    states = [(file, label, *_state(folder / file)) for file, label in pictures.items()]
    purpose = json.dumps([str(folder), use])
    key = hashlib.sha256(json.dumps([purpose, PIL.__version__, heic_version(), states]).encode()).hexdigest()
    # One entry for a folder and its settings: it is replaced when a file changes, so the cache does not grow.
    entry = root / "image_folder" / f"{hashlib.sha256(purpose.encode()).hexdigest()[:16]}.npz"
    with locked(entry):
        if (found := _read(entry, key)) is not None:
            return found
        found = _decode(folder, pictures, use)
        # A full disk costs the next call its time, and nothing else.
        with suppress(OSError), replacing(entry) as path:
            _write(path, key, found)
    return found


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:  # a link that leads nowhere
        return 0, 0, 0
    # A file that is moved or copied to another's name keeps its time of writing; that of its last change is new.
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _write(path: Path, key: str, found: DecodedPictures) -> None:
    np.savez(
        path,
        key=key,
        pixels=found.pixels,
        labels=found.labels,
        sizes=np.array([(each.width, each.height) for each in found.originals], dtype=np.int64).reshape(-1, 2),
        modes=np.array([each.mode for each in found.originals], dtype=str),
        digests=np.frombuffer(b"".join(each.digest for each in found.originals), dtype=np.uint8),
        unreadable=json.dumps(found.unreadable),
    )


def _read(entry: Path, key: str) -> DecodedPictures | None:
    try:
        with entry.open("rb") as file, np.load(file) as arrays:
            if str(arrays["key"]) != key:
                return None
            digests = arrays["digests"].reshape(len(arrays["sizes"]), -1)
            rows = zip(*arrays["sizes"].T.tolist(), arrays["modes"].tolist(), digests, strict=True)
            originals = tuple(Original(width, height, mode, digest.tobytes()) for width, height, mode, digest in rows)
            unreadable = json.loads(str(arrays["unreadable"]))
            return DecodedPictures(arrays["pixels"], arrays["labels"], originals, unreadable)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # none yet, or torn: it is made anew


def _decode(folder: Path, pictures: Mapping[str, int], use: Mapping[str, Any]) -> DecodedPictures:
    """Decode pictures in their order until `limit` could be read; the others are named with a reason."""
    size, channels = use["size"], use["channels"]

    def decode(path: Path) -> tuple[UInt8[np.ndarray, "c h w"], Original]:
        return decode_with_original(path, size, channels)

    found, unreadable = decode_files(folder, list(pictures), decode, limit=use["limit"])
    squares = [square for square, _ in found.values()]
    pixels = np.stack(squares) if squares else np.empty((0, channels, size, size), dtype=np.uint8)
    labels = np.array([pictures[file] for file in found], dtype=np.int64)
    return DecodedPictures(pixels, labels, tuple(original for _, original in found.values()), unreadable)
