"""Folders at a path or URL, on any file system of Arrow or fsspec, with retries.

Arrow's own file systems (s3, gs, abfs, hdfs, file) have options after a question mark, such as
s3://bucket/x?region=eu-west-1&endpoint_override=http://minio:9000.  For other schemes, fsspec gets the options as
keywords.
"""

from __future__ import annotations

import errno
import functools
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from gensweep.errors import ConfigError
from gensweep.files import expanded

T = TypeVar("T")

#: Seconds of retries before an operation fails; an object store is rarely unreachable for longer.
PATIENCE = 600.0
#: Seconds before the second attempt; each later pause is twice as long, plus or minus a quarter.
FIRST_PAUSE = 0.5
#: Longest pause between two attempts, in seconds.
LONGEST_PAUSE = 15.0
#: Bytes copied at a time.
CHUNK = 8 * 2**20

#: How error messages quote the names of buckets and objects.
_QUOTED = re.compile(r"'[^']*'")

#: Names of partly written files on file systems that are not object stores.
_TORN = re.compile(r"\..+\.[0-9a-f]{8}")

#: Errors that a retry would repeat.
_LASTING = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE|UNRECOGNIZED_CLIENT"
    r"|UNAUTHENTICATED|PERMISSION_DENIED|EXPIRED_TOKEN",
    re.IGNORECASE,
)

#: The same for a disk; the last two mean a file in place of a folder.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def is_url(place: str) -> bool:
    """True for s3://..., gs://... and the like; False for a path."""
    return "://" in place


def absolute(place: str) -> str:
    """A path made absolute; a URL unchanged."""
    return place if is_url(place) else str(expanded(place).absolute())


def below(place: str, *names: str) -> str:
    """The path or URL of an entry of a folder; a URL keeps its options."""
    base, mark, options = place.partition("?") if is_url(place) else (place, "", "")
    start = base if base.endswith("://") else f"{base.rstrip('/')}/"
    return start + "/".join(names) + mark + options


def split_place(place: str) -> tuple[str, str]:
    """The parent folder of a path or URL, with its options, and the last name."""
    base, mark, options = place.partition("?") if is_url(place) else (place, "", "")
    above, _, name = base.rstrip("/").rpartition("/")
    return above + mark + options, name


class FileState(NamedTuple):
    """Bytes of a stored file, and its modification time by the storage's clock (seconds since 1970), if known."""

    size: int
    time: float | None


class RemoteFolder:
    """A folder, which may not exist yet.  Files have names relative to it, with "/".

    Methods retry for `patience` seconds and then raise OSError.  FileNotFoundError and permanent errors, such as a
    missing permission, are raised at once.  The constructor raises ConfigError for an invalid URL.
    """

    def __init__(self, place: str, *, patience: float = PATIENCE) -> None:
        self.place, self._patience = place, patience
        # If the URL has no region, Arrow asks the store for it.
        self._filesystem, self._path = self._persistently(lambda: _resolved(place), "")

    def read(self, name: str) -> bytes:
        """The content of a file."""

        def attempt() -> bytes:
            with self._filesystem.open_input_stream(self._at(name)) as stream:
                content = cast(bytes, stream.read())
            # Arrow asks for the size first; an object replaced since then comes cut off or filled up with zeros.
            if len(content) != self._filesystem.get_file_info(self._at(name)).size:
                raise OSError("was replaced while it was read")
            return content

        return self._persistently(attempt, name)

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a file, as a whole."""
        self._persistently(lambda: self._write(name, lambda stream: stream.write(content)), name)

    def upload(self, file: Path, name: str) -> None:
        """Copy a local file to `name`, as a whole."""

        def copy(stream: Any) -> None:
            with file.open("rb") as source:
                shutil.copyfileobj(source, stream, CHUNK)

        self._persistently(lambda: self._write(name, copy), name)

    def download(self, name: str, file: Path) -> None:
        """Copy a file to an existing local folder; a crash may leave a part of it."""

        def attempt() -> None:
            with self._filesystem.open_input_stream(self._at(name)) as stream, file.open("wb") as target:
                shutil.copyfileobj(stream, target, CHUNK)

        self._persistently(attempt, name)

    def copy(self, name: str, target: RemoteFolder) -> None:
        """Copy a file to another folder of the same file system, under the same name."""

        def attempt() -> None:
            path = target._at(name)
            if not _is_object_store(self._filesystem):
                self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            self._filesystem.copy_file(self._at(name), path)

        self._persistently(attempt, name)

    def files(self) -> dict[str, FileState]:
        """All files of the folder and its subfolders; none if it does not exist."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._path, recursive=True, allow_not_found=True)
        found = self._persistently(lambda: self._filesystem.get_file_info(selector), "")
        start = len(self._path.strip("/")) + 1
        files = [info for info in found if info.type == FileType.File and not _TORN.fullmatch(info.base_name)]
        return {info.path.strip("/")[start:]: _state(info) for info in files}

    def state(self, name: str) -> FileState | None:
        """The state of a file, or None; without a name, that of a file at the folder's own path."""
        from pyarrow.fs import FileType

        info = self._persistently(lambda: self._filesystem.get_file_info(self._at(name)), name)
        return _state(info) if info.type == FileType.File else None

    def delete(self, name: str) -> None:
        """Remove a file, if it exists."""

        def attempt() -> None:
            with suppress(FileNotFoundError):
                self._filesystem.delete_file(self._at(name))

        self._persistently(attempt, name)

    def delete_all(self) -> None:
        """Remove the folder and its content, if it exists."""

        def attempt() -> None:
            with suppress(FileNotFoundError):
                self._filesystem.delete_dir(self._path)

        self._persistently(attempt, "")

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def _write(self, name: str, fill: Callable[[Any], Any]) -> None:
        path = self._at(name)
        if _is_object_store(self._filesystem):  # an object appears only when its stream is closed, complete
            with self._filesystem.open_output_stream(path) as stream:
                fill(stream)
            return
        above, _, last = path.rpartition("/")
        aside = f"{above}/.{last}.{uuid4().hex[:8]}"
        self._filesystem.create_dir(above, recursive=True)
        try:
            with self._filesystem.open_output_stream(aside) as stream:
                fill(stream)
            self._filesystem.move(aside, path)
        except BaseException:
            with suppress(Exception):  # the first error matters
                self._filesystem.delete_file(aside)
            raise

    def _persistently(self, action: Callable[[], T], name: str) -> T:
        """Retry an action until it succeeds; returns its result."""
        pause, deadline = FIRST_PAUSE, time.monotonic() + self._patience
        while True:
            try:
                return action()
            except (FileNotFoundError, ConfigError):
                raise
            except Exception as error:  # fsspec's file systems raise any exception
                place = below(self.place, name) if name else self.place
                if isinstance(error, OSError) and error.errno in _UNWRITABLE and not is_url(place):
                    raise OSError(error.errno, os.strerror(error.errno), place) from error
                if _is_lasting(error, place) or time.monotonic() + pause > deadline:
                    raise OSError(f"{place}: {_cause(error)}") from error
            time.sleep(pause * random.uniform(0.75, 1.25))  # spreads the attempts of workers
            pause = min(2 * pause, LONGEST_PAUSE)


def _state(info: Any) -> FileState:
    return FileState(int(info.size), None if info.mtime_ns is None else info.mtime_ns / 1e9)


def _is_lasting(error: Exception, place: str) -> bool:
    """True for a permanent error, by class or message without the place, whose name may contain any words."""
    path = place.partition("://")[2].partition("?")[0] or place
    return isinstance(error, PermissionError) or bool(_LASTING.search(_QUOTED.sub("", str(error).replace(path, ""))))


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def _is_object_store(filesystem: Any) -> bool:
    return filesystem.type_name not in ("local", "hdfs", "py::fsspec+file", "py::fsspec+local")


@functools.lru_cache(maxsize=64)
def _resolved(place: str) -> tuple[Any, str]:
    """An Arrow file system and the path in it."""
    from pyarrow import ArrowInvalid, fs

    if not is_url(place):
        return fs.LocalFileSystem(), str(Path(place).absolute())
    try:
        if (
            place.startswith("s3://") and "allow_delayed_open" not in place
        ):  # one request instead of three for a small file
            filesystem, path = fs.FileSystem.from_uri(f"{place}{'&' if '?' in place else '?'}allow_delayed_open=true")
        else:
            filesystem, path = fs.FileSystem.from_uri(place)
    except ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise ConfigError(f"{place}: {_cause(error)}") from error
        filesystem, path = _of_fsspec(place)
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"{place}: {_cause(error)}") from error
    return filesystem, path.rstrip("/")


def _of_fsspec(place: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs
    from pyarrow import fs

    base, _, options = place.partition("?")
    try:
        filesystem, path = url_to_fs(base, **dict(parse_qsl(options)))
    except (ImportError, ValueError, TypeError) as error:
        scheme = urlsplit(place).scheme
        raise ConfigError(
            f"{place}: {scheme}:// is not supported here ({_cause(error)}); Arrow knows s3, gs, abfs, hdfs and file, "
            "other schemes need their fsspec package"
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path
