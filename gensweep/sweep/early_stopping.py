"""Asynchronous successive halving (ASHA) on training images: which trials stop before their budget is used up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gensweep.sweep.state import SweepState, TrialState


def asha_stops(trial: TrialState, state: SweepState, budget: int, grace: int, reduction: int) -> bool:
    """Whether a trial's newest score is not among the best 1 / reduction of those that came to its rung before it.

    The rungs are at grace, grace * reduction, ... images, below the budget.  A trial that is not the first at a rung
    is compared once there, by its best score so far.  Source: Li et al. 2020, as in Ray's AsyncHyperBandScheduler.
    """
    rungs: list[int] = []
    while (images := grace * reduction ** len(rungs)) < budget:
        rungs.append(images)
    reached = _scores_at(rungs, trial.rungs, budget)
    new = reached.keys() - _scores_at(rungs, trial.rungs[:-1], budget).keys()
    if not new:
        return False
    rung, sign = new.pop(), 1.0 if state.mode == "max" else -1.0
    found = [_scores_at(rungs, other.rungs, budget) for other in state.trials.values() if other is not trial]
    others = [sign * scores[rung] for scores in found if rung in scores]
    return bool(others) and bool(sign * reached[rung] < np.percentile(others, (1 - 1 / reduction) * 100))


def _scores_at(rungs: Sequence[int], seen: Sequence[tuple[int, float]], budget: int) -> dict[int, float]:
    """The score of a trial by rung: each one counts at the highest rung below that has none yet."""
    scores: dict[int, float] = {}
    for images, value in seen:
        free = [rung for rung in rungs if rung <= images and rung not in scores]
        if free and images < budget:
            scores[free[-1]] = value
    return scores
