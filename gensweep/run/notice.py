"""A file that says that this machine is about to be taken away, as a spot machine is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def notice_file() -> Path:
    """The file whose existence says that this machine is about to be taken away."""
    return Path(tempfile.gettempdir()) / f"gensweep-spot-notice-{os.getuid()}"


def is_announced() -> bool:
    """True if this machine is about to be taken away."""
    return notice_file().exists()
