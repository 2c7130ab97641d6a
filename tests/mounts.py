"""Commands that run where folders are read-only or small, in a mount namespace of their own: nothing of it is left."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest


def _can_mount() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0 and not subprocess.run(["unshare", "-m", "true"]).returncode


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="mounting needs root and unshare, as in a container of CI")


def read_only(folder: Path) -> str:
    """The shell command that makes a folder read-only."""
    name = shlex.quote(str(folder))
    return f"mount --bind {name} {name} && mount -o remount,ro,bind {name}"


def small(folder: Path, kilobytes: int) -> str:
    """The shell command that puts an empty disk of so many kilobytes on a folder."""
    return f"mount -t tmpfs -o size={kilobytes}k none {shlex.quote(str(folder))}"


def run_mounted(mounts: Sequence[str], words: Sequence[str], **options) -> subprocess.CompletedProcess[str]:
    """Run a command after shell commands that mount things for it alone."""
    script = " && ".join([*mounts, 'exec "$@"'])
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *words], capture_output=True, text=True, **options
    )


def gensweep(*words: str) -> list[str]:
    """The program with these words."""
    return [sys.executable, "-m", "gensweep", *words]
