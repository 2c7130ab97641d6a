"""The processes of this test's Ray, by the class of their actor."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ray

# Tune names the process of a trial actor after its own wrapper.
TITLES = {"SweepTrial": ("SweepTrial", "ResourceTrainable")}


def environment_for_another_ray():
    """Of a process with a Ray of its own, which what this process has set for its Ray would change."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    paths = [str(Path(__file__).parent), *sys.path]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def raylets():
    """Process ids of this session's raylets; other sessions may run on the machine."""
    session = ray.get_runtime_context().get_session_name()
    return [pid for pid, words in commands() if words[0].endswith("raylet") and any(session in word for word in words)]


def pids(actor, parents=None):
    """Process ids of the living actors of a class, on all nodes or on those of the raylets `parents`."""
    parents = raylets() if parents is None else parents
    titles = tuple(f"ray::{name}" for name in TITLES.get(actor, (actor,)))
    return [pid for pid, words in commands() if words[0].startswith(titles) and parent(pid) in parents]


def commands():
    """(process id, words of the command line) of all processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has just ended
        if words[0]:
            yield int(folder.name), words


def parent(pid):
    """The parent's process id, or None if the process has ended."""
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
