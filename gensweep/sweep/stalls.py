"""Which workers make no progress: judged by the signs of life that every rank of a group sends to the sweep's queue.

A rank is *silent* if no sign comes from it at all: its process is stopped, or a call holds Python's lock.  It is *idle*
if signs come, but tell of no progress.  One silent rank, or idleness of all, stalls a group.  Idle ranks wait for those
that have come to fewer meetings (collective operations) than they: only the latter are stuck.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gensweep.phases import Phase

#: Seconds that one look counts at most: what passed while nobody looked, as the watcher itself hung, says nothing.
LONGEST_LOOK = 10.0
#: The share of the allowed time from which on people are told.
WARNING_SHARE = 0.5


class Sign(NamedTuple):
    """What a rank says of itself, every few seconds; `descriptor` is of the file that its stacks go to.

    It has moved on if `phase`, `moves` or `meetings` are others than before.  It may be idle for `patience` seconds,
    the last `timeout` of which are those that the trial's settings say; None: it is not watched.
    """

    rank: int
    host: str
    node: str
    pid: int
    descriptor: int | None
    phase: Phase
    moves: int
    meetings: int
    timeout: float | None
    patience: float

    @property
    def position(self) -> tuple[int, Phase, int, int]:
        """How far it is."""
        return (self.pid, self.phase, self.moves, self.meetings)


class Stuck(NamedTuple):
    """A rank that holds up its group: its last sign, and the seconds since it moved on, or since it said anything."""

    sign: Sign
    seconds: float
    silent: bool

    def __str__(self) -> str:
        how = "gives no sign of life" if self.silent else "makes no progress"
        sign = self.sign
        return f"rank {sign.rank} {how} for {self.seconds:.0f} s while {sign.phase} (pid {sign.pid} on {sign.host})"


@dataclass
class _Rank:
    """A rank's last sign, and when it came and when the rank moved on, by the clock of the watch."""

    sign: Sign
    heard: float
    moved: float

    @property
    def timeout(self) -> float:
        return math.inf if self.sign.timeout is None else self.sign.timeout

    def allows(self, share: float) -> float:
        """Seconds that it may be idle if only a share of the timeout is granted."""
        timeout = self.sign.timeout
        return math.inf if timeout is None else self.sign.patience - (1 - share) * timeout


class StallWatch:
    """Watches the ranks of one worker group; it is to be asked every few seconds.  `clock` is a steady one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ranks: dict[int, _Rank] = {}
        self._clock, self._looked = clock, clock()
        self._now = 0.0
        """Seconds that this watch has been awake."""

    def hear(self, sign: Sign) -> None:
        """Take in a sign of life."""
        now, known = self._tick(), self._ranks.get(sign.rank)
        stays = known is not None and known.sign.position == sign.position
        self._ranks[sign.rank] = _Rank(sign, now, known.moved if known is not None and stays else now)

    def restart(self) -> None:
        """Begin anew: until now the ranks waited for others, as for the next trial, or what the scheduler says."""
        now = self._tick()
        for rank in self._ranks.values():
            rank.heard = rank.moved = now

    def _tick(self) -> float:
        now = self._clock()
        self._now += min(now - self._looked, LONGEST_LOOK)
        self._looked = now
        return self._now

    @property
    def stuck(self) -> list[Stuck]:
        """The ranks that hold up their group for longer than they may."""
        return self._stuck(1.0)

    @property
    def seconds(self) -> float:
        """For how long the group has not moved, once that is worth telling; else 0."""
        return max((stuck.seconds for stuck in self._stuck(WARNING_SHARE)), default=0.0)

    def _stuck(self, share: float) -> list[Stuck]:
        """Those that have used up their patience, but for a share of the timeout."""
        now, ranks = self._tick(), list(self._ranks.values())
        if silent := [rank for rank in ranks if now - rank.heard > share * rank.timeout]:
            return [Stuck(rank.sign, now - rank.heard, silent=True) for rank in silent]
        if not ranks or any(now - rank.moved <= rank.allows(share) for rank in ranks):
            return []
        fewest = min(rank.sign.meetings for rank in ranks)
        return [Stuck(rank.sign, now - rank.moved, silent=False) for rank in ranks if rank.sign.meetings == fewest]
