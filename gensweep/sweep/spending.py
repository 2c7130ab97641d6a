"""The spending of a search, in the unit of its limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gensweep.results import Unit
from gensweep.sweep.trial_state import TrialState

#: A cost is extrapolated from at least a third of a training, because compiling and the first scores happen once.
MOST_EXTRAPOLATED = 3.0


@dataclass(frozen=True)
class SearchSpending:
    """The spending of all sampled trials; repeats are not part of the search."""

    unit: Unit
    amount: float
    """Spent on training and scoring."""
    whole: float
    """Cost of the most expensive training, or of a mean one, scoring included; 0 if unknown."""
    scoring: float
    """Cost of one evaluation, at most; 0 if unknown."""

    @classmethod
    def of(
        cls, trials: Iterable[TrialState], unit: Unit, whole: Callable[[list[float]], float] = max
    ) -> SearchSpending:
        """Add up the trials of a search.

        The cost of a complete training is known in advance in FLOPs, and in seconds if each training has a limit in
        seconds.  Otherwise it is extrapolated from past spending.
        """
        amount = scoring = 0.0
        known, extrapolated, early = list[float](), list[float](), list[float]()
        for trial in trials:
            spent = spent_by(trial, unit)
            amount += spent
            if trial.evaluations:
                scoring = max(scoring, trial.numbers.get(f"scoring_{unit}", 0.0) / len(trial.evaluations))
            if trial.status in ("failed", "infeasible"):
                continue
            if unit in trial.known:
                known.append(trial.known[unit])
            if trial.images and trial.length:
                longer = max(1.0, trial.length / trial.images)
                (extrapolated if longer <= MOST_EXTRAPOLATED else early).append(spent * longer)
        found = known + extrapolated or early
        return cls(unit, amount, whole(found) if found else 0.0, scoring)


def spent_by(trial: TrialState, unit: Unit) -> float:
    """Spending of one trial on training and scoring."""
    return trial.numbers.get(unit, 0.0) + trial.numbers.get(f"scoring_{unit}", 0.0)
