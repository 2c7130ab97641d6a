"""The processes that a test has started, also those whose parents have died, by what they are for a sweep."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

#: From linux/prctl.h.
PR_SET_CHILD_SUBREAPER = 36

#: What a test has started beside its sweep.
TRACKING_SERVER = "tracking server"

#: Words of a command line, and what such a process is; the first that fits.
KINDS = {
    "ray::RayTrainWorker": "worker",
    "ray::ResourceTrainable": "trial actor",  # Tune names the process of a trial actor after its own wrapper
    "ray::SweepTrial": "trial actor",
    "ray::TrainController": "controller",
    "ray::Mailbox": "mailbox",
    "ray::Bell": "bell",
    "ray::": "other process of Ray's",
    "gcs_server": "gcs",
    "raylet/raylet": "raylet",
    "telling_driver.py": "driver",
    "-m gensweep": "driver",
    "mlflow": TRACKING_SERVER,
}


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Make this process the parent of its descendants that lose theirs, and kill all that are left at the end."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(descendants())
    try:
        yield
    finally:
        while left := set(descendants()) - before:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            reap(before)
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def reap(others: set[int]) -> None:
    """Take note of the ends of adopted processes; `others` wait for their own."""
    for pid in children().get(os.getpid(), ()):
        if pid not in others:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants(root: int | None = None) -> dict[int, str]:
    """The command lines of the processes below one, by default this one, by their ids; none of those that have ended.

    A command line that cannot be read is empty.
    """
    found, tree = {}, children()
    new = [root or os.getpid()]
    while new:
        below = tree.get(new.pop(), [])
        new += below
        found |= {pid: command_of(pid) for pid in below}
    return {pid: command for pid, command in found.items() if command is not None}


def children() -> dict[int, list[int]]:
    """The ids of the children of every process, by its id."""
    tree: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(file.read_text().rpartition(")")[2].split()[1])
            tree.setdefault(parent, []).append(int(file.parent.name))
    return tree


def command_of(pid: int) -> str | None:
    """The command line of a process; None if it has ended, also if nobody has noticed yet."""
    folder = Path("/proc") / str(pid)
    try:
        if (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return None
        return (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
    except OSError:
        return None


def started(pid: int) -> int:
    """When a process was started, in ticks since the machine was; an ended one counts as the youngest."""
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return sys.maxsize


def kind_of(command: str) -> str:
    """What a process is for a sweep."""
    return next((kind for words, kind in KINDS.items() if words in command), "other")
