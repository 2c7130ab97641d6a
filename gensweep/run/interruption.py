"""Signals that stop a sweep: the first one cleanly, a second Ctrl-C within seconds."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: Seconds that a second Ctrl-C gives Ray to end its processes; the rest end by themselves.
RAY_SECONDS = 1.5
#: The exit code of a process that Ctrl-C ended.
INTERRUPTED = 130


@contextmanager
def set_by(stop: threading.Event, *numbers: signal.Signals) -> Iterator[None]:
    """Let signals set an event while inside, in the main thread; a second SIGINT ends the process.

    A SIGHUP that is ignored, as `nohup` has it, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    if before.get(signal.SIGHUP) == signal.SIG_IGN:
        del before[signal.SIGHUP]

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            _end_now()
        stop.set()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_now() -> None:
    """End this process, whatever it waits for."""
    ended = threading.Thread(target=_shut_down, daemon=True)
    ended.start()
    ended.join(RAY_SECONDS)
    os._exit(INTERRUPTED)


def _shut_down() -> None:
    if (ray := sys.modules.get("ray")) is not None:
        with suppress(Exception):
            ray.shutdown()
