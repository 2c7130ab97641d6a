"""Asynchronous successive halving (ASHA) on compute: which trials stop before their budget is used up."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Amounts that differ by this share are equal: they come from divisions of floating point numbers.
ROUNDING = 1e-9


class Asha:
    """The rungs, and the scores with which trials came to them.

    The rungs are at grace, grace * reduction, ... below the budget, in its unit.  A trial that is not the first at a
    rung is compared once there, by its best score so far: it stops unless it is among the best 1 / reduction of its
    family that came there before it.  Families are not compared with each other: one may begin slowly and end well.
    Source: Li et al. 2020, as in Ray's AsyncHyperBandScheduler.
    """

    def __init__(self, state: SweepState, budget: float, grace: float, reduction: int) -> None:
        self._state, self._budget, self._reduction = state, budget, reduction
        self._rungs: list[float] = []
        while (amount := grace * reduction ** len(self._rungs)) < budget * (1 - ROUNDING):
            self._rungs.append(amount)
        self._reached: dict[str, set[float]] = defaultdict(set)
        self._scores: dict[tuple[str, float], list[float]] = defaultdict(list)
        for trial in state.searched:
            for images, value in trial.rungs:
                self._take(trial, images, value)

    def stops(self, trial: TrialState) -> bool:
        """Take in a trial's newest score, and say whether the trial is to stop there; called after each score."""
        images, value = trial.rungs[-1]
        rung = self._take(trial, images, value)
        if rung is None:
            return False
        *others, newest = self._scores[trial.family, rung]
        return bool(others) and bool(newest < np.percentile(others, (1 - 1 / self._reduction) * 100))

    def _take(self, trial: TrialState, images: int, value: float) -> float | None:
        """The rung at which a score counts, the highest below it that the trial has not come to, if any."""
        spent, reached = self._state.spent(trial, images), self._reached[trial.trial]
        free = [rung for rung in self._rungs if rung * (1 - ROUNDING) <= spent and rung not in reached]
        if not free or spent >= self._budget * (1 - ROUNDING):
            return None
        reached.add(free[-1])
        self._scores[trial.family, free[-1]].append(value if self._state.mode == "max" else -value)
        return free[-1]
