"""Commands as a person types them, in a folder of their own: as a process, or in this one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from gensweep.cli.main import run

HANGS = 900  # seconds after which a command will not end; it takes a minute, or several on a busy machine


class Printed(NamedTuple):
    """What a command wrote."""

    out: str
    err: str


def foreign(key: str) -> bool:
    """Whether a variable of this environment would reach another store or cluster."""
    return key.startswith(("MLFLOW_", "RAY_"))


def start(folder: Path, *arguments: object, code: int = 0) -> Printed:
    """Run `gensweep` as a process of its own; it must end with this exit code."""
    environment = {key: value for key, value in os.environ.items() if not foreign(key)}
    command = [sys.executable, "-m", "gensweep", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return Printed(done.stdout, done.stderr)


def call(folder: Path, *arguments: object, code: int = 0) -> Printed:
    """Run `gensweep` in this process, which has loaded everything already; it must end with this exit code."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), patch.dict(os.environ), redirect_stdout(out), redirect_stderr(err):
        for key in filter(foreign, list(os.environ)):
            del os.environ[key]
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        ended = run([*map(str, arguments)])
    assert ended == code, f"{out.getvalue()}\n{err.getvalue()}"
    return Printed(out.getvalue(), err.getvalue())
