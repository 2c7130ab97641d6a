"""A process group for Ray's processes, so that a signal to the group of the driver reaches the driver alone.

A closed terminal, `timeout` and `kill -- -PGID` signal whole process groups.  Until the trials are saved, the driver
needs Ray.  A process starts in the group of its parent, so the driver changes its own group while Ray starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Runs until its standard input ends, and passes signals on to the process in its argument, if there is one.
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
def separate_process_group() -> Iterator[None]:
    """Processes that are started while inside are in another process group than this one.

    Signals to this process's own group still arrive.  Does nothing in a session leader, which cannot change its group,
    and in a container whose group is outside of it.
    """
    own = os.getpgrp()
    if own == 0 or os.getsid(0) == os.getpid():
        yield
        return
    with _helper() as leader, _helper(os.getpid()), _writing_to_the_terminal():
        os.setpgid(0, leader)
        try:
            yield
        finally:
            with suppress(PermissionError):  # the group is gone
                os.setpgid(0, own)


@contextmanager
def _helper(forward_to: int | None = None) -> Iterator[int]:
    """A process that stays in this group and passes signals on, or that leads a new group; gives its id."""
    command = [sys.executable, "-I", "-S", "-c", _HELPER, *([] if forward_to is None else [str(forward_to)])]
    group = 0 if forward_to is None else -1
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, process_group=group, stdin=pipe, stdout=pipe, stderr=null) as helper:
        assert helper.stdout is not None
        helper.stdout.readline()
        yield helper.pid


@contextmanager
def _writing_to_the_terminal() -> Iterator[None]:
    """Keep this process running if it writes to the terminal from the background, even after `stty tostop`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTTOU, before)
