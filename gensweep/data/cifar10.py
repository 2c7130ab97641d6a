"""CIFAR-10: 60,000 photographs of 32 x 32 pixels in ten classes, read from the official binary files.

They lie in `cifar10/` of the cache folder, put there by `gensweep data fetch cifar10` (see cifar10_sources.py): records
of one label byte and 3,072 bytes, the planes of red, green and blue, 10,000 records a file.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from gensweep.data.images import DATASETS, Classes, Flip, Images, Limit, Size, Split, select
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import write_text

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
FETCH_COMMAND = "gensweep data fetch cifar10"
#: The side of an image, in pixels.
CIFAR10_PIXELS = 32
CIFAR10_CHANNELS = 3
VERIFIED_FILE = "verified.json"


@DATASETS.register("cifar10")
def cifar10(
    split: Split,
    root: Path,
    *,
    classes: Classes = None,
    limit: Limit = None,
    size: Size = 32,
    flip: Flip = True,
) -> Images:
    """CIFAR-10: 50,000 training and 10,000 test photographs in ten classes, fetched once.

    Raises ConfigError if it was not fetched, GensweepError that names a missing or damaged file.
    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    folder = folder_in(root)
    if not folder.is_dir():
        raise ConfigError(f"cifar10 is not in {root}; run: {FETCH_COMMAND}")
    if found := problems(folder):
        raise GensweepError("\n".join(f"{problem}; run: {FETCH_COMMAND}" for problem in found))
    files = [name for name in SHA256 if name.startswith("test") == (split == "test")]
    pixels, labels = _read([folder / name for name in files])
    name = f"cifar10/{split}"
    return select(pixels, labels, CLASS_NAMES, name=name, classes=classes, limit=limit, size=size, flip=flip)


def folder_in(root: Path) -> Path:
    """Where the six files lie in a cache folder."""
    return root / "cifar10"


def problems(folder: Path) -> list[str]:
    """What is wrong with the six files: one line for each that is missing or damaged.

    A file that was found whole is not hashed again while its size and time of change stay what they were.
    """
    try:
        known = dict(json.loads((folder / VERIFIED_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        known = {}
    found: list[str] = []
    whole: dict[str, object] = {}
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path} is missing")
            continue
        state = [path.stat().st_size, path.stat().st_mtime_ns, expected]
        if known.get(name) != state and (actual := sha256(path.read_bytes())) != expected:
            found.append(f"{path} is damaged: its SHA-256 should be {expected}, but is {actual}")
        else:
            whole[name] = state
    if whole != known:
        # In a cache that only others may write, hashing again next time is all that it costs.
        with suppress(OSError):
            write_text(folder / VERIFIED_FILE, json.dumps(whole, indent=1))
    return found


def sha256(data: bytes) -> str:
    """The SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _read(paths: list[Path]) -> tuple[UInt8[np.ndarray, "n c h w"], Int64[np.ndarray, " n"]]:
    # Each byte of the pixels is copied once, from the page cache to its place.
    values = CIFAR10_CHANNELS * CIFAR10_PIXELS**2
    files = [np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, 1 + values) for path in paths]
    pixels = np.empty((sum(map(len, files)), values), dtype=np.uint8)
    np.concatenate([records[:, 1:] for records in files], out=pixels)
    labels = np.concatenate([records[:, 0] for records in files]).astype(np.int64)
    return pixels.reshape(-1, CIFAR10_CHANNELS, CIFAR10_PIXELS, CIFAR10_PIXELS), labels
