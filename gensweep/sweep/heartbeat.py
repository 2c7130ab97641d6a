"""The signs of life of one worker: how far it is, and for how long it may stay there."""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gensweep.files import is_waiting
from gensweep.phases import COMPUTING, RESTING, STEADY, Phase
from gensweep.remote_folder import PATIENCE
from gensweep.sweep.stalls import Sign

_log = logging.getLogger(__name__)

#: Seconds between two signs; fewer where the timeout is short.
SIGN_INTERVAL = 5.0
#: Signs in the time of a timeout, at least.
SIGNS_PER_TIMEOUT = 4
#: Seconds after which a new phase is said, unless it is over by then.
SETTLING_SECONDS = 0.5
#: The signal at which a process writes its stacks.
STACK_SIGNAL = signal.SIGUSR1
#: What the kernel calls the file in memory that those go to.
STACK_FILE = "gensweep-stacks"
#: Timeouts that a step may take of which nothing is known as yet: it compiles, loads data, or computes statistics.
FIRST_TIMEOUTS = 10


def waited_for_a_core(thread: int) -> float:
    """Seconds that a thread of this process could have computed and had no core, so far; 0 where nobody tells."""
    try:
        _, waited, _ = Path(f"/proc/self/task/{thread}/schedstat").read_text().split()
    except (OSError, ValueError):  # not Linux, or the thread has ended
        return 0.0
    return int(waited) / 1e9


class Heartbeat:
    """Sends signs from a thread of its own.  `meetings` counts the collective operations that this rank has come to.

    `waited` tells how long a thread has waited for a core: on a machine that other programs use, too, a step may take
    long and nothing hangs.
    """

    def __init__(
        self,
        send: Callable[[Sign], object],
        *,
        rank: int,
        node: str,
        meetings: Callable[[], int],
        timeout: float | None,
        clock: Callable[[], float] = time.monotonic,
        waited: Callable[[int], float] = waited_for_a_core,
    ) -> None:
        self._send, self._rank, self._node, self._meetings, self._clock = send, rank, node, meetings, clock
        self._timeout, self._phase = timeout, RESTING
        self._moves, self._moved = 0, clock()
        self._waited, self._thread, self._waited_before = waited, threading.get_native_id(), math.inf
        self._slowest: dict[Phase, float] = {}
        self._descriptor = _stack_file()
        self._wake, self._stopped = threading.Event(), False

    def start(self) -> None:
        """Send signs until this process ends, or `stop`."""
        threading.Thread(target=self._run, name="gensweep-heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True
        self._wake.set()

    def begin(self, timeout: float | None) -> None:
        """A trial begins, of which no step is known yet."""
        self._timeout, self._slowest = timeout, {}
        self.moved("starting")  # which is said soon, or it would be watched by what held for the trial before

    def rest(self) -> None:
        """The trial has ended."""
        self.moved(RESTING)

    def moved(self, phase: Phase | None = None) -> None:
        """Something was done; a phase begins with its name."""
        now = self._clock()
        took, self._moved = now - self._moved, now
        self._moves += 1
        self._thread, self._waited_before = threading.get_native_id(), math.inf
        if phase is not None and phase != self._phase:
            self._phase = phase
            self._wake.set()
        else:
            self._slowest[self._phase] = max(self._slowest.get(self._phase, 0.0), took)

    @property
    def patience(self) -> float:
        """Seconds that the next step may take: those of the slowest one so far, and what the settings allow beyond.

        What it waited for a core since the first sign after the last step comes on top.
        """
        timeout, phase = self._timeout, self._phase
        if timeout is None or phase == RESTING:
            return float("inf")
        slowest = self._slowest.get(phase)
        known = phase in STEADY and slowest is not None
        allowed = timeout if known else FIRST_TIMEOUTS * timeout
        return allowed + (slowest or 0.0) + (0.0 if phase in COMPUTING else PATIENCE) + self._starved()

    def _starved(self) -> float:
        now = self._waited(self._thread)
        before = min(self._waited_before, now)  # the training may move on meanwhile, and forget it
        self._waited_before = before
        return now - before

    def sign(self) -> Sign:
        """How it is now."""
        if is_waiting():  # for a process of this machine that is watched itself
            self.moved()
        return Sign(
            self._rank,
            socket.gethostname(),
            self._node,
            os.getpid(),
            self._descriptor,
            self._phase,
            self._moves,
            self._meetings(),
            self._timeout,
            self.patience,
        )

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                self._send(self.sign())
            except Exception:  # who says nothing any more would be taken to hang
                _log.exception("a sign of life could not be sent")
            timeout = SIGNS_PER_TIMEOUT * SIGN_INTERVAL if self._timeout is None else self._timeout
            interval = min(SIGN_INTERVAL, timeout / SIGNS_PER_TIMEOUT)
            if self._wake.wait(interval):
                time.sleep(min(SETTLING_SECONDS, interval))


def _stack_file() -> int | None:
    """A file in memory to which this process writes the stacks of its threads whenever STACK_SIGNAL comes.

    That needs neither Python's lock nor a disk, and others of the same user can read it.
    """
    if sys.platform != "linux":
        return None
    descriptor = os.memfd_create(STACK_FILE)
    faulthandler.register(STACK_SIGNAL, file=descriptor, all_threads=True)
    return descriptor
