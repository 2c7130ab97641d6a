"""The command that goes on with a sweep, which every message about an end in the middle names."""

from __future__ import annotations

import shlex
from pathlib import Path

#: The folder that holds one folder a sweep, unless somebody says otherwise.
SWEEPS = Path("sweeps")


def going_on_command(option: str, folder: Path) -> str:
    """What goes on with the sweep of a folder: by --resume, --retry and such."""
    elsewhere = [] if folder.parent == SWEEPS.absolute() else ["--sweeps", str(folder.parent)]
    return shlex.join(["gensweep", "tune", f"--{option}", folder.name, *elsewhere])
