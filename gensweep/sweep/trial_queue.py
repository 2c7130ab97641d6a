"""One small actor a sweep, between Tune's trial actors and the workers that train.

A *runner* is a trial actor with its kept worker group.  Each time that it starts a trial, anew or again, is one
*generation*, which the runner counts.  The runner assigns and takes; rank 0 of the workers asks for the next generation
and reports.  Whatever belongs to an older generation is answered with "stop", so workers leave a stopped trial at their
next report, all ranks at the same one.

Nothing here is the only copy.  If the actor dies, Ray starts it again, empty: workers are told to stop, and runners, to
which their generation is "forgotten", assign their trial again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Assignment", "Event", "TrialQueue"]

CHECKPOINTS_REMEMBERED = 2
"""As many as are kept of a trial that runs: the older one counts if the newest is damaged."""

WATCH_INTERVAL = 1.0
"""Seconds between two looks whether a runner lives."""


@dataclass(frozen=True)
class Assignment:
    """A trial for a runner, with the URIs of the checkpoints that it goes on from, newest first."""

    trial: str
    config: Any
    checkpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """What happened to a trial: a report, the end, a failure; the sweep closes; the queue has started again."""

    kind: Literal["report", "finished", "failed", "closed", "forgotten"]
    images: int = 0
    report: Any = None
    """Passed on as it is."""
    checkpoints: tuple[str, ...] = ()
    """If the report came with a checkpoint: its URI and that of the one before."""
    error: str = ""
    details: str = ""
    lost: bool = False
    """The workers were lost (killed, out of memory, node gone) and did not raise."""


@dataclass
class _Generation:
    number: int
    assignment: Assignment
    events: deque[Event] = field(default_factory=deque)
    errors: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By rank: what the job raised, in one line and in full."""
    sent: int = 0
    delivered: int = 0
    taken: int = 0
    """How many events were followed by another `take`: the go-ahead for their sender."""


class TrialQueue:
    """The actor; every method is a coroutine, so that long waits of one runner do not hold up another.

    `free` is called with the name of a runner that has died, in a thread, to free what it leaves behind.
    """

    def __init__(self, free: Callable[[str], None]) -> None:
        self._free = free
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._current: dict[str, _Generation] = {}
        self._checkpoints: dict[str, tuple[str, ...]] = {}
        self._closed = False
        self._changed = asyncio.Condition()

    # -- the runner's side -----------------------------------------------------------------------------------------

    async def assign(self, runner: str, handle: Any, number: int, assignment: Assignment) -> tuple[str, ...]:
        """Hand a trial to the runner's workers; whatever they do now is stale.  `handle` is the runner's actor.

        Returns the checkpoints that the trial goes on from: newer ones than the assignment's, if any were reported.
        """
        if runner not in self._watches:
            self._watches[runner] = asyncio.create_task(self._watch(runner, handle))
        async with self._changed:
            known = self._checkpoints.setdefault(assignment.trial, assignment.checkpoints)
            self._current[runner] = _Generation(number, Assignment(assignment.trial, assignment.config, known))
            self._changed.notify_all()
            return known

    async def take(self, runner: str, number: int, timeout: float) -> Event | None:
        """The next event, or None after `timeout` seconds.  Also says that the trial may go on after the last one."""
        async with self._changed:
            current = self._current.get(runner)
            if self._closed:
                return Event("closed")
            if current is None or current.number != number:
                return Event("forgotten")
            current.taken = current.delivered
            self._changed.notify_all()
            await self._wait(lambda: self._closed or bool(current.events), timeout)
            if self._closed:
                return Event("closed")
            if not current.events:
                return None
            current.delivered += 1
            return current.events.popleft()

    async def group_ended(self, runner: str, number: int, reason: str) -> None:
        """The worker group came to an end without finishing the trial of this generation."""
        async with self._changed:
            if current := self._get(runner, number):
                self._send(current, _failure(current.errors, reason))

    # -- the workers' side -----------------------------------------------------------------------------------------

    async def next_generation(self, runner: str, after: int, timeout: float) -> int:
        """The runner's generation once it is newer than `after`, or 0 after `timeout` seconds."""
        async with self._changed:
            await self._wait(lambda: self._number(runner) > after, timeout)
            return self._number(runner) if self._number(runner) > after else 0

    async def assignment(self, runner: str, number: int) -> Assignment | None:
        """The trial of that generation; None if it is stale."""
        current = self._get(runner, number)
        return None if current is None else current.assignment

    async def report(self, runner: str, number: int, images: int, report: Any, checkpoint: str | None) -> bool:
        """One report of rank 0.  Returns False if the trial is to stop; one with a checkpoint waits for that answer."""
        async with self._changed:
            current = self._get(runner, number)
            if self._closed or current is None:
                return False
            kept: tuple[str, ...] = ()
            if checkpoint is not None:
                trial = current.assignment.trial
                older = (uri for uri in self._checkpoints[trial] if uri != checkpoint)
                kept = self._checkpoints[trial] = (checkpoint, *older)[:CHECKPOINTS_REMEMBERED]
            self._send(current, Event("report", images, report, kept))
            turn = current.sent
            if checkpoint is not None:
                await self._wait(lambda: self._closed or self._number(runner) != number or current.taken >= turn, None)
            return not self._closed and self._number(runner) == number

    async def finish(self, runner: str, number: int) -> None:
        """The trial's budget is used up."""
        async with self._changed:
            if current := self._get(runner, number):
                self._send(current, Event("finished"))

    async def job_raised(self, runner: str, number: int, rank: int, error: str, details: str) -> None:
        """The job raised in that rank, which ends the worker group."""
        if current := self._get(runner, number):
            current.errors[rank] = (error, details)

    # -- the driver's side -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """The sweep stops: every runner is told at once, every worker at its next report."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _watch(self, runner: str, handle: Any) -> None:
        """Wait for the runner's death, and free its worker group, which its trial needs to start elsewhere."""
        from ray.exceptions import ActorUnavailableError, RayActorError

        while True:
            try:
                await handle.__ray_ready__.remote()  # waits while the runner works, raises when it is dead
            except ActorUnavailableError:
                pass  # Ray looks itself whether the actor comes back
            except RayActorError:
                break
            await asyncio.sleep(WATCH_INTERVAL)
        self._current.pop(runner, None)
        await asyncio.to_thread(self._free, runner)

    def _send(self, current: _Generation, event: Event) -> None:
        current.events.append(event)
        current.sent += 1
        self._changed.notify_all()

    async def _wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait_for(ready), timeout)

    def _get(self, runner: str, number: int) -> _Generation | None:
        current = self._current.get(runner)
        return current if current is not None and current.number == number else None

    def _number(self, runner: str) -> int:
        current = self._current.get(runner)
        return 0 if current is None else current.number


_CONNECTION = re.compile(r"gloo|nccl|DistNetworkError|connection (closed|reset)|broken pipe", re.IGNORECASE)


def _failure(errors: dict[int, tuple[str, str]], reason: str) -> Event:
    """What ended a group: the job, if ranks raised.

    A worker that is killed makes its peers raise: whatever they say of a lost connection means lost, too.
    """
    if not errors or any(_CONNECTION.search(line) for line, _ in errors.values()):
        lines = "; ".join(f"rank {rank}: {line}" for rank, (line, _) in sorted(errors.items()))
        return Event("failed", error=f"worker lost ({lines or reason.splitlines()[0]})", details=reason, lost=True)
    details = "\n".join(f"rank {rank}:\n{text}" for rank, (_, text) in sorted(errors.items()))
    return Event("failed", error=errors[min(errors)][0], details=details)
