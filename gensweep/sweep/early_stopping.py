"""Asynchronous successive halving (ASHA) on compute: which trials stop before their budget is used up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Amounts that differ by this share are equal: they come from divisions of floating point numbers.
ROUNDING = 1e-9


def asha_stops(trial: TrialState, state: SweepState, budget: float, grace: float, reduction: int) -> bool:
    """Whether a trial's newest score is not among the best 1 / reduction of its family that came to its rung before it.

    The rungs are at grace, grace * reduction, ... below the budget, in its unit.  A trial that is not the first at a
    rung is compared once there, by its best score so far.  Families are not compared with each other: one may begin
    slowly and end well.  Source: Li et al. 2020, as in Ray's AsyncHyperBandScheduler.
    """
    rungs: list[float] = []
    while (amount := grace * reduction ** len(rungs)) < budget * (1 - ROUNDING):
        rungs.append(amount)

    def scores(one: TrialState, count: int | None = None) -> dict[float, float]:
        seen = [(state.spent(one, images), value) for images, value in one.rungs[:count]]
        return _scores_at(rungs, seen, budget)

    reached = scores(trial)
    new = reached.keys() - scores(trial, -1).keys()
    if not new:
        return False
    rung, sign = new.pop(), 1.0 if state.mode == "max" else -1.0
    family = trial.family
    found = [scores(other) for other in state.searched if other is not trial and other.family == family]
    others = [sign * reached_by[rung] for reached_by in found if rung in reached_by]
    return bool(others) and bool(sign * reached[rung] < np.percentile(others, (1 - 1 / reduction) * 100))


def _scores_at(rungs: Sequence[float], seen: Sequence[tuple[float, float]], budget: float) -> dict[float, float]:
    """The score of a trial by rung: each one counts at the highest rung below that has none yet."""
    scores: dict[float, float] = {}
    for spent, value in seen:
        free = [rung for rung in rungs if rung * (1 - ROUNDING) <= spent and rung not in scores]
        if free and spent < budget * (1 - ROUNDING):
            scores[free[-1]] = value
    return scores
