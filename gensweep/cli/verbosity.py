"""How much a command tells on stderr: `--verbose` adds the log, `--quiet` leaves out what is told if all is well."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any


@contextmanager
def telling_more() -> Iterator[None]:
    """What gensweep logs goes to stderr, with the time and the module."""
    logger, handler = logging.getLogger("gensweep"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def quietly(run: Callable[[], Any]) -> Any:
    """What a command returns; what it writes to stderr meanwhile is shown only if it raises or returns an exit code."""
    kept, failed = StringIO(), True
    try:
        with redirect_stderr(kept):
            code = run()
        failed = bool(code)
        return code
    finally:
        if failed:
            sys.stderr.write(kept.getvalue())
