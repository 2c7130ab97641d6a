"""What the trials of a search have spent, and would spend until their ends, kept up to date one trial at a time."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple, TypeVar

from gensweep.results import Unit
from gensweep.sweep.trial_state import TrialState

#: Once a trial has gone a third of the way, those that have not say nothing of what another will spend: compiling and
#: the first scores come once.
MOST_EXTRAPOLATED = 3.0

_V = TypeVar("_V", float, tuple[bool, float])


def spent_by(trial: TrialState, unit: Unit) -> float:
    """What a trial has spent on training and on scoring, as far as it has reported."""
    return trial.numbers.get(unit, 0.0) + trial.numbers.get(f"scoring_{unit}", 0.0)


class _Spent(NamedTuple):
    """What is known of a trial."""

    amount: float = 0.0
    whole: tuple[bool, float] | None = None
    """Whether it has come far enough to tell, and what it would have spent at its end; None if it has not begun."""
    scoring: float | None = None
    """What a scoring took on average; None if there was none."""


class SearchSpending:
    """The spending of the trials that a search has drawn, in the unit of its budget."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self._changed: dict[str, TrialState] = {}
        """Those that have changed since somebody looked, as most do several times before anybody does."""
        self._spent: dict[str, _Spent] = {}
        self._amount = 0.0
        self._wholes: list[tuple[bool, float]] = []
        self._scorings: list[float] = []
        self._training: dict[str, TrialState] = {}

    def update(self, trial: TrialState) -> None:
        """Take in what has changed of a trial, which may be new; those that repeat another are not of the search."""
        if trial.repeat_of is None:
            self._changed[trial.trial] = trial

    @property
    def amount(self) -> float:
        """What all together have spent."""
        self._take_in()
        return self._amount

    @property
    def whole(self) -> float:
        """What the dearest would have spent at its end, failed ones aside; 0 if none has begun."""
        self._take_in()
        return self._wholes[-1][1] if self._wholes else 0.0

    @property
    def scoring(self) -> float:
        """What it takes to score a trial once, at most; 0 if none was scored."""
        self._take_in()
        return self._scorings[-1] if self._scorings else 0.0

    @property
    def training(self) -> list[TrialState]:
        """Those that have not ended, and that no scheduler holds."""
        self._take_in()
        return list(self._training.values())

    def _take_in(self) -> None:
        changed, self._changed = self._changed, {}
        for name, trial in changed.items():
            before, now = self._spent.get(name, _Spent()), self._spent_by(trial)
            self._spent[name] = now
            self._amount += now.amount - before.amount
            _replace(self._wholes, before.whole, now.whole)
            _replace(self._scorings, before.scoring, now.scoring)
            if trial.ended or trial.status == "paused":
                self._training.pop(name, None)
            else:
                self._training[name] = trial

    def _spent_by(self, trial: TrialState) -> _Spent:
        spent = _Spent(spent_by(trial, self.unit))
        if trial.status != "failed" and trial.images and (length := trial.length):
            longer = max(1.0, length / trial.images)
            spent = spent._replace(whole=(longer <= MOST_EXTRAPOLATED, spent.amount * longer))
        if trial.evaluations:
            scoring = trial.numbers.get(f"scoring_{self.unit}", 0.0)
            spent = spent._replace(scoring=scoring / len(trial.evaluations))
        return spent


def _replace(known: list[_V], before: _V | None, now: _V | None) -> None:
    """Let one value take the place of another in a sorted list, where it is known."""
    if before is not None:
        del known[bisect_left(known, before)]
    if now is not None:
        insort(known, now)
