"""The expected gain of further trials."""

from __future__ import annotations

import math
from statistics import fmean

from gensweep.results import order_of
from gensweep.sweep.state import SweepState

#: Finished trials without which nothing is expected.
FEWEST = 4
#: Share of the finished trials, the best, that the expectation follows from.
BEST_PART = 0.75


def expected_gain(state: SweepState) -> float:
    """Share by which further trials are expected to improve the best score; infinite if too few have finished.

    For scores that fall off exponentially at their best end, the best of m is better than that of n by b log(m / n).
    The lead of the best k over the next one is b in the mean.  Source: Rényi 1953, "On the theory of order statistics".
    """
    finished = [each.score for each in state.searched if each.status == "finished" and each.score is not None]
    scores = sorted(order_of(score.value, state.mode) for score in finished)
    if len(scores) < FEWEST or not scores[0]:
        return math.inf
    count = min(round(BEST_PART * len(scores)), len(scores) - 1)
    lead = scores[count] - fmean(scores[:count])
    growth, budget = state.wanted / len(state.searched), None if state.created is None else state.created.search_budget
    if budget is not None:
        growth = min(growth, max(1.0, budget / state.spending.amount))
    return lead / abs(scores[0]) * math.log(growth)
