"""Memory limits of hosts: a control group each, of version 1 or 2, whichever the machine's kernel runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "gensweep-drill-"


class MemoryGroup:
    """A group that may use so many bytes.  Raises OSError if the machine lets us make none."""

    def __init__(self, name: str, limit: int) -> None:
        first = (ROOT / "memory" / "memory.limit_in_bytes").exists()
        self.root = ROOT / "memory" if first else ROOT
        """Where programs look for the limit; a host shows its own group there."""
        if not first:
            (ROOT / "cgroup.subtree_control").write_text("+memory")
        self.path = self.root / f"{PREFIX}{os.getpid()}-{name}"
        self.path.mkdir(exist_ok=True)
        (self.path / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
        self._used = self.path / ("memory.usage_in_bytes" if first else "memory.current")

    @property
    def members(self) -> Path:
        """Whatever writes 0 to this file is in the group from then on."""
        return self.path / "cgroup.procs"

    @property
    def used(self) -> int:
        """Bytes, with the host's files in memory."""
        return int(self._used.read_text())

    def remove(self) -> None:
        """Every member must have ended."""
        self.path.rmdir()


def remove_left() -> None:
    """Remove the groups of runs that were killed, whose processes have ended with them."""
    for path in [*ROOT.glob(f"{PREFIX}*"), *(ROOT / "memory").glob(f"{PREFIX}*")]:
        owner = path.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(FileNotFoundError):  # another drill that begins now removes them, too
            if not (Path("/proc") / owner).exists() and not (path / "cgroup.procs").read_text():
                path.rmdir()
