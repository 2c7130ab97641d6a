"""Files that a crash, a disk or a person has damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


def cut(file: Path) -> None:
    """Leave the first half of a file, as a crash in the middle of writing does."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def flip(file: Path) -> None:
    """Change a byte in the middle of a file, as a bad disk does."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x80  # no longer ASCII, so that a line of JSON is seen to be damaged
    file.write_bytes(content)


def garble(file: Path) -> None:
    """Put something else into a file."""
    file.write_bytes(b"\0garbage\xff" * 1000)


def empty(file: Path) -> None:
    """Leave nothing in a file, as a power cut does."""
    file.write_bytes(b"")


def remove(file: Path) -> None:
    """Delete a file."""
    file.unlink()


@contextlib.contextmanager
def restored(file: Path) -> Iterator[None]:
    """A file as it was before, at the end."""
    content = file.read_bytes()
    try:
        yield
    finally:
        file.write_bytes(content)
