"""The command that continues a sweep, for messages."""

from __future__ import annotations

import shlex
from pathlib import Path

#: The default folder of all sweeps.
SWEEPS = Path("sweeps")


def continue_command(option: str, folder: Path) -> str:
    """The command that continues the sweep of a folder, by an option such as "resume" or "retry"."""
    elsewhere = [] if folder.parent == SWEEPS.absolute() else ["--sweeps", str(folder.parent)]
    return shlex.join(["gensweep", "tune", f"--{option}", folder.name, *elsewhere])
