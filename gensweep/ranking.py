"""The one rule by which trials are ranked."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from typing import Generic, NamedTuple, Protocol, TypeVar

from gensweep.results import Cost, Identity, Score


class _Rankable(Protocol):
    """What a trial must say to be ranked; a failed trial is not ranked, nor is one that repeats another.

    One that breaks limits is ranked only where no other meets all of them.
    """

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def repeat_of(self) -> str | None: ...
    @property
    def objective(self) -> Score | None: ...
    @property
    def cost(self) -> Cost: ...
    @property
    def broken_limits(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=_Rankable)
_Key = tuple[float, float, str]


@dataclass
class _Row(Generic[R]):
    """Trials that are compared with each other, the best first."""

    trials: list[tuple[_Key, R]] = field(default_factory=list)
    finished: int = 0
    """How many of them ran to their end."""


@dataclass
class _Group(Generic[R]):
    """Trials whose scores have one identity."""

    samples: int
    within: _Row[R] = field(default_factory=_Row)
    breaking: _Row[R] = field(default_factory=_Row)
    """Those that break limits."""

    @property
    def counting(self) -> _Row[R]:
        """Those that are ranked."""
        return self.within if self.within.trials else self.breaking

    @property
    def weight(self) -> tuple[int, int, int]:
        """Of several groups the one with the most counts."""
        return self.counting.finished, len(self.counting.trials), self.samples


class _Place(NamedTuple, Generic[R]):
    """Where a trial stands."""

    row: _Row[R]
    key: _Key
    finished: bool


class Ranking(Generic[R]):
    """Trials with the best first, kept up to date one trial at a time.

    If trials that were stopped early have scores of another identity, those that ran to their end decide which identity
    counts; else that of most trials does, and of equally many the one of most images.  Of equal scores the one that
    took less training comes first.
    """

    def __init__(self, trials: Iterable[R] = ()) -> None:
        self._groups: dict[Identity, _Group[R]] = {}
        self._places: dict[int, _Place[R]] = {}
        self._changed: dict[int, R] = {id(trial): trial for trial in trials}
        """Those that have changed since somebody looked, as most do several times before anybody does."""

    def __iter__(self) -> Iterator[R]:
        group = max(self._known_groups().values(), key=lambda each: each.weight, default=None)
        return iter(()) if group is None else (trial for _, trial in group.counting.trials)

    def update(self, trial: R) -> None:
        """Take in what has changed of a trial, which may be new."""
        self._changed[id(trial)] = trial

    def _known_groups(self) -> dict[Identity, _Group[R]]:
        changed, self._changed = self._changed, {}
        for trial in changed.values():
            self._place(trial)
        return self._groups

    def _place(self, trial: R) -> None:
        if (place := self._places.pop(id(trial), None)) is not None:
            del place.row.trials[bisect_left(place.row.trials, place.key, key=_key)]
            place.row.finished -= place.finished
        if trial.objective is None or trial.status == "failed" or trial.repeat_of is not None:
            return
        identity = trial.objective.identity
        group = self._groups.setdefault(identity, _Group(identity.samples))
        row = group.breaking if trial.broken_limits else group.within
        place = _Place(
            row, (trial.objective.order, trial.cost.train_seconds or 0.0, trial.name), trial.status == "finished"
        )
        insort(row.trials, (place.key, trial), key=_key)
        row.finished += place.finished
        self._places[id(trial)] = place

    def groups(self) -> dict[Identity, list[R]]:
        """All that have a score, whatever limits they break, by the identity of their scores."""
        found = {each: merge(group.within.trials, group.breaking.trials, key=_key) for each, group in self._items()}
        return {identity: [trial for _, trial in trials] for identity, trials in found.items()}

    def comparable(self) -> dict[Identity, list[R]]:
        """The same without those that break limits, wherever others meet all of theirs."""
        return {identity: [trial for _, trial in group.counting.trials] for identity, group in self._items()}

    def _items(self) -> list[tuple[Identity, _Group[R]]]:
        return [(identity, group) for identity, group in self._known_groups().items() if group.counting.trials]


def _key(item: tuple[_Key, object]) -> _Key:
    return item[0]
