"""Signals that stop a sweep: the first one cleanly, a second Ctrl-C within seconds.

A closed terminal, `timeout` and `kill -- -PGID` signal whole process groups.  The driver needs Ray until the trials
have saved, so Ray runs in another process group.  A child process inherits the group of its parent, so the driver
changes its own group while Ray starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

#: Seconds that a second Ctrl-C gives Ray to end its processes; later they end on their own.
RAY_SECONDS = 1.5
#: Exit code after Ctrl-C.
INTERRUPTED = 130
#: Runs until its standard input closes, and forwards signals to the process in its argument, if any.
_HELPER = """
import os, signal, sys
def forward(number, frame):
    os.kill(int(sys.argv[1]), number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, forward if sys.argv[1:] else signal.SIG_IGN)
signal.signal(signal.SIGTSTP, signal.SIG_IGN)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def set_by(stop: threading.Event, *numbers: signal.Signals) -> Iterator[None]:
    """Signals set an event in the context, in the main thread; a second SIGINT ends the process.  Respects nohup."""

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            _end_now()
        stop.set()

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    with _handled_by(handle, *(number for number in numbers if number not in ignored)):
        yield


@contextmanager
def _handled_by(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals in the context, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _end_now() -> None:
    """End this process at once."""

    def shut_down() -> None:
        if (ray := sys.modules.get("ray")) is not None:
            with suppress(Exception):
                ray.shutdown()

    ended = threading.Thread(target=shut_down, daemon=True)
    ended.start()
    ended.join(RAY_SECONDS)
    os._exit(INTERRUPTED)


@contextmanager
def separate_process_group() -> Iterator[None]:
    """Processes that start in the context get another process group than this one.

    This process still receives its group's signals.  Does nothing in a session leader, which cannot change its
    group, and in a container whose group is outside of it.
    """
    own = os.getpgrp()
    if own == 0 or os.getsid(0) == os.getpid():
        yield
        return
    # In the background it may write to the terminal, even after `stty tostop`.
    with _helper() as leader, _helper(os.getpid()), _handled_by(signal.SIG_IGN, signal.SIGTTOU):
        os.setpgid(0, leader)
        try:
            yield
        finally:
            with suppress(PermissionError):  # the group is gone
                os.setpgid(0, own)


@contextmanager
def _helper(forward_to: int | None = None) -> Iterator[int]:
    """A process that stays in this group and forwards signals, or that leads a new group; returns its id."""
    command = [sys.executable, "-I", "-S", "-c", _HELPER, *([] if forward_to is None else [str(forward_to)])]
    group = 0 if forward_to is None else -1
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, process_group=group, stdin=pipe, stdout=pipe, stderr=null) as helper:
        assert helper.stdout is not None
        helper.stdout.readline()
        yield helper.pid
