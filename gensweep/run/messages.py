"""Messages between the driver, a trial and its workers.

A mailbox passes the workers' messages to the trial, which passes them on to Tune one at a time.  With one worker
two threads of a process share it.  With several it is an actor, whose calls run in threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import ray.cloudpickle

from gensweep import plugins
from gensweep.results import Phase
from gensweep.sweep.events import Report

T = TypeVar("T")


class WithPlugins(Generic[T]):
    """A pickled value, such as a function and its configuration, for a process that may lack this one's plug-ins."""

    def __init__(self, value: T) -> None:
        self._plugins = plugins.loaded()
        # Pickled separately, because unpickling a configuration creates trials.
        self._pickled: bytes = ray.cloudpickle.dumps(value)  # type: ignore[no-untyped-call]

    def open(self) -> T:
        """Import the plug-ins and unpickle.  Raises ConfigError if a plug-in cannot be imported here."""
        for plugin in self._plugins:
            plugin.install()
        value: T = ray.cloudpickle.loads(self._pickled)
        return value


@dataclass(frozen=True)
class TrialSettings:
    """Passed to every trial; `scratch` is on the driver's machine."""

    sweep_id: str
    job: WithPlugins[Callable[..., None]]
    worker_counts: tuple[int, ...]
    """Allowed numbers of workers, largest first."""
    resources: dict[str, float]
    """Resources of one worker."""
    storage: str
    """The root of the sweep's storage, a path or URL."""
    own_storage: bool
    """True if the storage is the sweep's own folder."""
    scratch: Path
    """For Ray Train's bookkeeping; checkpoints are not stored there."""
    bell: Any
    """The actor that announces the end of the sweep."""


@dataclass(frozen=True)
class Assignment:
    """A trial, and the checkpoints to resume from, newest first."""

    trial: str
    config: Any
    checkpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """The workers of a trial have ended, because training is complete or because of an error.

    `lost` means an infrastructure error: the trial may run again, without limit unless it `counts`.
    `ends_sweep` means that every other trial would fail with the same error.
    """

    error: str | None = None
    details: str = ""
    lost: bool = False
    counts: bool = True
    ends_sweep: bool = False


class News(NamedTuple):
    """A message or None, the workers' phase, whether they made progress since the last news, and their processes."""

    message: Report | Done | None
    phase: Phase | None
    moved: bool
    workers: tuple[tuple[str, int], ...] = ()
    """Node and process id of each worker outside the trial's process."""


class Mailbox:
    """Messages from the workers, and the trial's requests to them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: deque[Any] = deque()
        self._sent = self._taken = self._answered = 0
        self._phase: Phase | None = None
        self._moved = self._stopped = self._closing = False
        self._errors: dict[int, Done] = {}
        self._workers: list[tuple[str, int]] = []

    def enter(self, node: str, pid: int) -> None:
        """Record the process of a worker."""
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
        """Record progress of a worker; a new phase has a name."""
        with self._changed:
            self._phase, self._moved = phase or self._phase, True

    def stop(self) -> None:
        """Stop the trial: waiting senders return at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Ask the workers to save a checkpoint, because the sweep is about to stop."""
        self._closing = True

    def is_closing(self) -> bool:
        """True once `close` was called."""
        return self._closing

    def fail(self, rank: int, error: Done) -> None:
        """Record an exception of the job, which ends the workers."""
        self._errors[rank] = error

    def errors(self) -> dict[int, Done]:
        """The exceptions of the job, by rank."""
        return dict(self._errors)

    def nodes(self) -> set[str]:
        """The nodes of the workers."""
        return {node for node, _ in self._workers}
