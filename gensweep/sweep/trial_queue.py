"""One small actor a sweep, between Tune's trial actors and the workers that train.

A *runner* is a trial actor with its kept worker group.  Each time that it starts a trial, anew or again, is one
*generation*, which the runner counts.  The runner assigns and takes; rank 0 of the workers asks for the next assignment
and reports.  Whatever belongs to an older generation is answered with "stop", so workers leave a stopped trial at their
next report, all ranks at the same one.

Nothing here is the only copy: the driver knows from which checkpoints a trial starts, the runner those of its reports.
If the actor dies, Ray starts it again, empty: workers are told to stop, and runners, to which their generation is
"forgotten", assign their trial again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from gensweep.phases import RESTING, Phase
from gensweep.sweep.events import Entered, Evaluated, Report, Saved, Stalled
from gensweep.sweep.stalls import Sign, StallWatch, Stuck
from gensweep.sweep.trial_state import CHECKPOINTS_KEPT


@dataclass(frozen=True)
class Assignment:
    """A trial for a runner's generation, with the URIs of the checkpoints that it goes on from, newest first."""

    trial: str
    config: Any
    checkpoints: tuple[str, ...] = ()
    generation: int = 0

    def after(self, event: Report) -> Assignment:
        """The same, going on from the checkpoint of an event, if it has one."""
        if not isinstance(event, Evaluated | Saved) or event.uri is None:
            return self
        older = (uri for uri in self.checkpoints if uri != event.uri)
        return replace(self, checkpoints=(event.uri, *older)[:CHECKPOINTS_KEPT])


@dataclass(frozen=True)
class Message:
    """What a runner is told besides reports.

    Workers on these nodes begin its trial; the trial ended, failed, or makes no progress; the sweep closes; the queue
    was restarted.
    """

    kind: Literal["begun", "finished", "failed", "stalled", "closed", "forgotten"]
    error: str = ""
    details: str = ""
    outside: bool = False
    """The trial is not to blame: the workers were lost (killed, out of memory, node gone), storage or data are away."""
    preempted: bool = False
    """A node was taken away, which was announced."""
    nodes: tuple[str, ...] = ()
    ends_sweep: bool = False
    """What failed would fail with every other trial, too."""
    stuck: tuple[Stuck, ...] = ()
    """The workers that make no progress."""
    stack: str = ""
    """Where they hang."""


class JobError(NamedTuple):
    """What the job raised in one rank: in one line, in full, and whether the cause lies outside of the trial."""

    line: str
    details: str
    outside: bool = False


class GroupEnd(NamedTuple):
    """Why a worker group ended by itself: in one line, in full, and what is known of its processes."""

    line: str
    details: str = ""
    died: bool = False
    """One of its processes died, so what the others raised is a consequence."""
    preempted: bool = False
    """A node was taken away, which was announced."""


@dataclass
class _Generation:
    assignment: Assignment
    messages: deque[Report | Message] = field(default_factory=deque)
    errors: dict[int, JobError] = field(default_factory=dict)
    """By rank."""
    answered: bool = True
    """The last message that was taken was followed by another `take`: the go-ahead for its sender."""
    holds_up: bool = False
    """Whether the workers wait for the answer."""
    stalled: bool = False
    """Whether it was told that it makes no progress."""
    phase: Phase | None = None
    """What it was told that the workers are busy with; None: they have not taken the trial."""


class TrialQueue:
    """The actor; every method is a coroutine, so that long waits of one runner do not hold up another."""

    def __init__(self) -> None:
        self._current: dict[str, _Generation] = {}
        self._watches: dict[str, StallWatch] = {}
        """Of the worker groups, by their runners."""
        self._groups: dict[str, str] = {}
        """Their names, as far as this queue has seen them begin."""
        self._checkpoints: dict[str, tuple[str, ...]] = {}
        """Of trials that have not been assigned since they started."""
        self._closing = self._closed = False
        self._changed = asyncio.Condition()

    async def assign(self, runner: str, assignment: Assignment, *, new_group: str | None = None) -> Assignment:
        """Hand a trial to the runner's workers, or to a group that is yet to come; whatever they do now is stale.

        Returns the assignment, with the checkpoints from which the trial was to start, if the runner has just begun it.
        """
        async with self._changed:
            checkpoints = self._checkpoints.pop(assignment.trial, assignment.checkpoints)
            assignment = replace(assignment, checkpoints=checkpoints)
            self._current[runner] = _Generation(assignment)
            if new_group is not None:
                self._groups[runner] = new_group
            if new_group is not None or runner not in self._watches:
                self._watches[runner] = StallWatch()
            self._watches[runner].restart()
            self._changed.notify_all()
            return assignment

    async def take(self, runner: str, generation: int, timeout: float) -> Report | Message | None:
        """The next message, or None after `timeout` seconds.  Also tells the sender of the last one to go on."""
        async with self._changed:
            current = self._get(runner, generation)
            if current is not None:
                if current.holds_up:
                    self._watches[runner].restart()
                current.answered, current.holds_up = True, False
                self._changed.notify_all()
                await self._wait(lambda: self._closed or bool(current.messages), timeout)
                self._look(current, self._watches[runner])
            if self._closed:
                return Message("closed")
            if current is None:
                return Message("forgotten")
            if not current.messages:
                return None
            message = current.messages.popleft()
            if not isinstance(message, Entered):  # for whose answer nobody waits
                current.answered, current.holds_up = False, isinstance(message, Evaluated)
            return message

    async def group_ended(self, runner: str, generation: int, end: GroupEnd) -> None:
        """The worker group came to an end without finishing the trial of this generation."""
        async with self._changed:
            if current := self._get(runner, generation):
                self._send(current, _failure(current.errors, end))

    async def next_assignment(self, runner: str, after: int, timeout: float) -> Assignment | None:
        """The runner's assignment once its generation is newer than `after`, or None after `timeout` seconds."""

        def newer() -> bool:
            return runner in self._current and self._current[runner].assignment.generation > after

        async with self._changed:
            await self._wait(newer, timeout)
            return self._current[runner].assignment if newer() else None

    async def begin(self, runner: str, generation: int, nodes: tuple[str, ...]) -> None:
        """The workers, which lie on these nodes, have taken the assignment."""
        async with self._changed:
            if current := self._get(runner, generation):
                current.phase = RESTING
                self._send(current, Message("begun", nodes=nodes))

    async def report(self, runner: str, generation: int, event: Report) -> bool:
        """One report of rank 0.  Returns False if the trial is to stop; an evaluation waits for that answer.

        Once the sweep is to stop, a checkpoint without a score is where its trial leaves off.
        """
        async with self._changed:
            current = self._get(runner, generation)
            if self._closed or current is None:
                return False

            def stale() -> bool:
                return self._closed or self._current[runner] is not current

            self._send(current, event)
            if isinstance(event, Evaluated):
                await self._wait(lambda: stale() or (current.answered and not current.messages), None)
            return not (stale() or (self._closing and isinstance(event, Saved)))

    async def hear(self, runner: str, group: str, sign: Sign) -> None:
        """A sign of life of one of the runner's workers; those of an earlier group come late."""
        if self._groups.get(runner, group) != group:
            return
        if runner in self._watches:
            self._watches[runner].hear(sign)
        current = self._current.get(runner)
        # What comes before they have taken the trial is of the one before.
        if current is None or current.phase is None or sign.rank or sign.phase in (RESTING, current.phase):
            return
        async with self._changed:
            current.phase = sign.phase
            self._send(current, Entered(current.assignment.trial, sign.phase))

    async def finish(self, runner: str, generation: int) -> None:
        """The trial has trained to its end."""
        async with self._changed:
            if current := self._get(runner, generation):
                self._send(current, Message("finished"))

    async def job_raised(self, runner: str, generation: int, rank: int, error: JobError) -> None:
        """The job raised in that rank, which ends the worker group."""
        if current := self._get(runner, generation):
            current.errors[rank] = error

    async def storage_failed(self, runner: str, generation: int, error: str) -> None:
        """The workers cannot use the storage, and so could not those of any other trial."""
        async with self._changed:
            if current := self._get(runner, generation):
                self._send(current, Message("failed", error=error, ends_sweep=True))

    async def start_from(self, trial: str, checkpoints: tuple[str, ...]) -> None:
        """A runner is about to begin a trial, which goes on from these checkpoints."""
        self._checkpoints[trial] = checkpoints

    async def begin_to_close(self) -> None:
        """The sweep is about to stop: trials are to save where they are."""
        self._closing = True

    async def is_closing(self) -> bool:
        """Whether it is."""
        return self._closing

    async def close(self) -> None:
        """The sweep stops: every runner is told at once, every worker at its next report."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _look(self, current: _Generation, watch: StallWatch) -> None:
        """Tell the runner if its workers make no progress, first as news, then for it to end them."""
        if current.messages:
            return
        seconds = watch.seconds
        if bool(seconds) != current.stalled:
            current.stalled = bool(seconds)
            current.messages.append(Stalled(current.assignment.trial, round(seconds, 1)))
        if stuck := watch.stuck:
            watch.restart()
            current.messages.append(Message("stalled", stuck=tuple(stuck)))

    def _get(self, runner: str, generation: int) -> _Generation | None:
        current = self._current.get(runner)
        return current if current is not None and current.assignment.generation == generation else None

    def _send(self, current: _Generation, message: Report | Message) -> None:
        current.messages.append(message)
        self._changed.notify_all()

    async def _wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait_for(ready), timeout)


_CONNECTION = re.compile(r"gloo|nccl|DistNetworkError|connection (closed|reset)|broken pipe", re.IGNORECASE)


def _failure(errors: dict[int, JobError], end: GroupEnd) -> Message:
    """What ended a group: the job, if ranks raised.

    A worker that is killed makes its peers raise: whatever they say of a lost connection means lost, too.
    """
    if not errors or end.died or end.preempted or any(_CONNECTION.search(error.line) for error in errors.values()):
        lines = "; ".join(f"rank {rank}: {error.line}" for rank, error in sorted(errors.items()))
        told = "its node is taken away" if end.preempted else end.line if end.died or not lines else lines
        error = f"worker lost ({told})"
        return Message("failed", error, end.details, outside=True, preempted=end.preempted)
    details = "\n".join(f"rank {rank}:\n{error.details}" for rank, error in sorted(errors.items()))
    outside = all(error.outside for error in errors.values())
    return Message("failed", error=errors[min(errors)].line, details=details, outside=outside)
