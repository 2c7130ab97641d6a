"""Files and folders that are replaced as a whole: after a crash the old one is there or the new one, never a part."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path to write at; what is there takes the place of `file` if nothing raises.  Its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
        aside = Path(folder) / file.name
        yield aside
        flush(aside)
        aside.replace(file)
    flush(file.parent)


def write_text(file: Path, text: str) -> None:
    """Replace a file's text; its folder is made if need be."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Replace a file's content; its folder is made if need be."""
    with replacing(file) as aside:
        aside.write_bytes(content)


def replace_folder(aside: Path, folder: Path) -> None:
    """Flush a folder that was written under another name and give it its own.

    A folder that has the name already gives way, and is gone only once the new one is there.
    """
    for file in aside.rglob("*"):
        flush(file)
    flush(aside)
    old = aside.with_name(f"{aside.name}.old")
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def flush(path: Path) -> None:
    """Make the system write a file, or the names in a folder, to the disk: else a power cut may leave it torn."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file's content, 64 hex digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
