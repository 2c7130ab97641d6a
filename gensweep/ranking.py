"""The one rule by which trials are ranked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

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


def comparable(trials: Iterable[R]) -> dict[Identity, list[R]]:
    """Trials that can be ranked, by the identity of their scores, each group with its best first.

    Those that break limits are left out of a group in which others meet all of theirs.
    """
    return {
        each: [trial for trial in group if not trial.broken_limits] or group
        for each, group in scored_groups(trials).items()
    }


def scored_groups(trials: Iterable[R]) -> dict[Identity, list[R]]:
    """Trials that have a score to be ranked by, whatever limits they break, in groups as those of `comparable`.

    Of equal scores the one that took less training comes first.
    """
    groups: dict[Identity, list[tuple[tuple[float, float, str], R]]] = {}
    for trial in trials:
        if trial.objective is not None and trial.status != "failed" and trial.repeat_of is None:
            key = trial.objective.order, trial.cost.train_seconds or 0.0, trial.name
            groups.setdefault(trial.objective.identity, []).append((key, trial))
    return {each: [trial for _, trial in sorted(group, key=lambda item: item[0])] for each, group in groups.items()}


def ranking(trials: Iterable[R]) -> list[R]:
    """The trials of a sweep that can be ranked with each other, the best first.

    If trials that were stopped early have scores of another identity, those that ran to their end decide which identity
    counts; else that of most trials does, and of equally many the one of most images.
    """

    def weight(group: tuple[Identity, list[R]]) -> tuple[int, int, int]:
        return sum(trial.status == "finished" for trial in group[1]), len(group[1]), group[0].samples

    return max(comparable(trials).items(), key=weight, default=(None, []))[1]
