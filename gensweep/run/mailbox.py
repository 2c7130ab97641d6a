"""Messages from the workers of a trial to the trial, which passes them on to Tune one at a time.

With one worker two threads of a process share the mailbox.  With several it is an actor, whose calls run in threads.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from gensweep.results import Phase
from gensweep.sweep.events import Report


@dataclass(frozen=True)
class JobError:
    """An exception of the job in one rank: one line, the traceback, and whether the cause is infrastructure."""

    line: str
    details: str
    infrastructure: bool = False


@dataclass(frozen=True)
class Done:
    """The workers have ended: the trial is trained to its end, or an error stopped them.

    `lost` means that infrastructure failed and the trial may run again; without `counts`, as often as it takes.
    `ends_sweep` means that the error would stop every other trial, too.
    """

    error: str | None = None
    details: str = ""
    lost: bool = False
    counts: bool = True
    ends_sweep: bool = False


class News(NamedTuple):
    """A message or None, the phase of the workers, whether they have moved since the last news, and their processes."""

    message: Report | Done | None
    phase: Phase | None
    moved: bool
    workers: tuple[tuple[str, int], ...] = ()
    """Node and process id of each worker that is not in the trial's own process."""


class Mailbox:
    """Messages that are not yet taken, and the requests of the trial to its workers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: deque[Any] = deque()
        self._sent = self._taken = self._answered = 0
        self._phase: Phase | None = None
        self._moved = self._stopped = self._closing = False
        self._errors: dict[int, JobError] = {}
        self._workers: list[tuple[str, int]] = []

    def enter(self, node: str, pid: int) -> None:
        """Note the process of a worker."""
        self._workers.append((node, pid))

    def send(self, message: Report | Done, wait: bool = False) -> bool:
        """Add a message.  With `wait`, return once the trial continues after it.  False if the trial stops."""
        with self._changed:
            self._messages.append(message)
            self._sent += 1
            number, self._moved = self._sent, True
            self._changed.notify_all()
            if wait:
                self._changed.wait_for(lambda: self._stopped or self._answered >= number)
            return not self._stopped

    def take(self, timeout: float) -> News:
        """Return the next message, or None after `timeout` seconds.  The sender of the last message continues."""
        with self._changed:
            self._answered = self._taken
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._messages, timeout)
            message = self._messages.popleft() if self._messages else None
            news = News(message, self._phase, self._moved, tuple(self._workers))
            self._taken += news.message is not None
            self._moved = False
            return news

    def move(self, phase: Phase | None) -> None:
        """Note that a worker has made progress; a phase begins with its name."""
        with self._changed:
            self._phase, self._moved = phase or self._phase, True

    def stop(self) -> None:
        """Stop the trial: senders that wait return at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Ask the workers to save a checkpoint, because the sweep is about to stop."""
        self._closing = True

    def is_closing(self) -> bool:
        """True once `close` was called."""
        return self._closing

    def fail(self, rank: int, error: JobError) -> None:
        """Note an exception of the job, which ends the workers."""
        self._errors[rank] = error

    def errors(self) -> dict[int, JobError]:
        """The exceptions of the job, by rank."""
        return dict(self._errors)

    def nodes(self) -> set[str]:
        """The nodes of the workers."""
        return {node for node, _ in self._workers}
