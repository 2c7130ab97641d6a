"""One small actor a sweep, between Tune's trial actors and the workers that train.

A *slot* is a trial actor with its kept worker group.  Each trial that the slot runs is one *generation*.  The trial
actor assigns and takes; rank 0 of the workers asks for the next generation and reports.  Whatever belongs to an older
generation is answered with "stop", so workers leave a stopped trial at its next report, all ranks at the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Assignment", "Event", "Mailbox", "Resume"]


@dataclass(frozen=True)
class Resume:
    """Where a trial goes on: its checkpoints, newest first, and the best objective so far, with its identity."""

    checkpoints: tuple[str, ...] = ()
    best: float | None = None
    identity: Mapping[str, Any] | None = None


def supersedes(value: float, identity: Any, best: float | None, best_identity: Any, sign: float) -> bool:
    """Whether a score takes the place of a trial's best: if it is better, or the first of another kind.

    Scores of another kind are not comparable, and the last kind, that of the whole evaluation, is the one that counts.
    """
    return best is None or identity != best_identity or sign * value < sign * best


@dataclass(frozen=True)
class Assignment:
    """A trial for a slot."""

    trial: str
    config: Any
    resume: Resume = field(default_factory=Resume)


@dataclass(frozen=True)
class Event:
    """What happened in a slot's workers: a report, the end, a failure; or the sweep closes."""

    kind: Literal["report", "finished", "failed", "closed"]
    metrics: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    objective: float | None = None
    """The best so far, and only with a report that was evaluated."""
    error: str = ""
    details: str = ""
    lost: bool = False
    """The workers were lost (killed, out of memory, node gone) and did not raise."""


@dataclass
class _Slot:
    generation: int = 0
    assignment: Assignment | None = None
    events: deque[Event] = field(default_factory=deque)
    taken: int = 0
    """How many events of this generation were followed by another `take`: the go-ahead for their sender."""
    delivered: int = 0
    sent: int = 0


class Mailbox:
    """The actor; every method is a coroutine, so that long waits of one slot do not hold up another."""

    def __init__(self, metric: str, mode: str) -> None:
        self._metric = metric
        self._sign = 1.0 if mode == "min" else -1.0
        self._slots: dict[str, _Slot] = {}
        self._resume: dict[str, Resume] = {}
        self._closed = False
        self._changed = asyncio.Condition()

    # -- the trial actor's side ------------------------------------------------------------------------------------

    async def assign(self, slot: str, assignment: Assignment) -> int:
        """Hand a trial to the slot's workers; whatever they do now is stale.  Returns the generation."""
        async with self._changed:
            self._resume.setdefault(assignment.trial, assignment.resume)
            box = self._slots.setdefault(slot, _Slot())
            resume = self._resume[assignment.trial]
            self._slots[slot] = _Slot(box.generation + 1, Assignment(assignment.trial, assignment.config, resume))
            self._changed.notify_all()
            return box.generation + 1

    async def take(self, slot: str, generation: int, timeout: float) -> Event | None:
        """The next event, or None after `timeout` seconds.  Also says that the trial may go on after the last one."""
        async with self._changed:
            box = self._slots[slot]
            box.taken = box.delivered
            self._changed.notify_all()
            await self._wait(lambda: self._closed or bool(box.events) or box.generation != generation, timeout)
            if self._closed:
                return Event("closed")
            if not box.events:
                return None
            box.delivered += 1
            return box.events.popleft()

    async def fail(self, slot: str, generation: int, error: str, details: str, lost: bool) -> None:
        """The worker group of this generation came to an end without finishing its trial."""
        await self._send(slot, generation, Event("failed", error=error, details=details, lost=lost))

    async def set_resume(self, trial: str, resume: Resume) -> None:
        """Go on from elsewhere (a scheduler that pauses or clones trials)."""
        self._resume[trial] = resume

    async def get_resume(self, trial: str) -> Resume:
        """Where the trial would go on."""
        return self._resume.get(trial, Resume())

    # -- the workers' side -----------------------------------------------------------------------------------------

    async def next_generation(self, slot: str, after: int, timeout: float) -> int:
        """The slot's generation once it is newer than `after`, or 0 after `timeout` seconds."""
        async with self._changed:
            await self._wait(lambda: self._generation(slot) > after, timeout)
            return self._generation(slot) if self._generation(slot) > after else 0

    async def assignment(self, slot: str, generation: int) -> Assignment | None:
        """The trial of that generation; None if it is stale."""
        box = self._slots[slot]
        return box.assignment if box.generation == generation else None

    async def report(
        self, slot: str, generation: int, metrics: dict[str, Any], checkpoint: str | None, wait: bool
    ) -> bool:
        """One report of rank 0.  Returns False if the trial is to stop; `wait` for the scheduler's word on this one."""
        objective = None
        value = metrics.get(self._metric) if checkpoint is not None else None
        async with self._changed:
            box = self._slots[slot]
            if self._closed or box.generation != generation or box.assignment is None:
                return False
            if checkpoint is not None:
                old = self._resume[box.assignment.trial]
                identity = metrics.get("identities", {}).get(self._metric)
                better = value is not None and supersedes(value, identity, old.best, old.identity, self._sign)
                best, kind = (value, identity) if better else (old.best, old.identity)
                kept = (checkpoint, *(c for c in old.checkpoints if c != checkpoint))[:2]
                self._resume[box.assignment.trial] = Resume(kept, best, kind)
                objective = best if value is not None else None
            box.events.append(Event("report", metrics, checkpoint, objective))
            box.sent += 1
            turn = box.sent
            self._changed.notify_all()
            if wait:
                await self._wait(lambda: self._closed or self._stale(slot, generation) or box.taken >= turn, None)
            return not self._closed and not self._stale(slot, generation)

    async def finish(self, slot: str, generation: int) -> None:
        """The trial's budget is used up."""
        await self._send(slot, generation, Event("finished"))

    # -- the driver's side -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """The sweep stops: every trial actor is told at once, every worker at its next report."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def _send(self, slot: str, generation: int, event: Event) -> None:
        async with self._changed:
            box = self._slots.get(slot)
            if box is not None and box.generation == generation:
                box.events.append(event)
                box.sent += 1
                self._changed.notify_all()

    async def _wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait_for(ready), timeout)

    def _generation(self, slot: str) -> int:
        box = self._slots.get(slot)
        return 0 if box is None else box.generation

    def _stale(self, slot: str, generation: int) -> bool:
        return self._generation(slot) != generation
