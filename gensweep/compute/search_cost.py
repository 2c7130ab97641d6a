"""The best score of a whole search against what the search costs.

A draw of a search is a score and a cost: a trial that was stopped early adds the best score that it reached, and only
what it really spent.  Shapes: ... any number of leading axes, n trials.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from gensweep.compute.curves import FrontierPoint, TrainingCurve
from gensweep.compute.expected_best import (
    CONFIGURATIONS_PER_TRY,
    MIN_CONFIGURATIONS,
    BestOfK,
    expected_best,
    jackknife_influences,
    without_each,
)
from gensweep.compute.scale import Scale


def search_frontier(curves: Sequence[TrainingCurve]) -> tuple[FrontierPoint, ...]:
    """The expected best score of a search of k trials of a group, for k up to their number, against its cost.

    A search of k trials costs k times the mean cost of a trial.  Trainings that only repeat a configuration with
    another seed are no draws of the search.  Without a band where k is more than a third of the trials, or where there
    are too few of them.
    """
    first: dict[str, TrainingCurve] = {}
    for curve in curves:
        if curve.points:
            first.setdefault(curve.configuration, curve)
    n = len(first)
    scores = np.array([min(point.order for point in curve.points) for curve in first.values()])
    costs = np.array([curve.spent for curve in first.values()])
    points = []
    for k in range(1, n + 1):
        budget, low, high = k * float(costs.mean()), None, None
        if n >= MIN_CONFIGURATIONS and k * CONFIGURATIONS_PER_TRY <= n:
            low, high = (float(end) for end in search_best(scores, costs, budget).band)
        points.append(FrontierPoint(budget, float(expected_best(scores, k)), low, high))
    return tuple(points)


def search_best(scores: Float64[ndarray, "... n"], costs: Float64[ndarray, "... n"], budget: float) -> BestOfK:
    """The expected best score of as many trials as a budget pays for on average, with the error of their cost.

    Between whole numbers of trials it changes linearly.  The budget must pay for fewer than n - 1 trials.
    """
    n, scale = scores.shape[-1], Scale.of(scores)
    tries = budget / costs.mean(-1)
    mean_without = (costs.sum(-1, keepdims=True) - costs) / (n - 1)
    best = np.stack([expected_best(scores, k) for k in range(1, n)], -1)
    left = np.stack([without_each(scores, k) for k in range(1, n)], -1)
    centre, without = _between(best, tries), _between(left, budget / mean_without)
    freedom = (n - 1) / np.maximum(tries, 1.0)
    return BestOfK(scale.forward(centre), jackknife_influences(scale.forward(without)), freedom, scale)


def _between(best: Float64[ndarray, "... k"], tries: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
    """The expected best of a number of tries that need not be whole, from that of 1, 2, ...; at least that of 1."""
    position = np.clip(tries - 1, 0, best.shape[-1] - 1)
    lower = np.minimum(position.astype(int), max(0, best.shape[-1] - 2))
    upper = np.minimum(lower + 1, best.shape[-1] - 1)
    ends = [np.take_along_axis(best, index[..., None], -1)[..., 0] for index in (lower, upper)]
    return np.asarray(ends[0] + (position - lower) * (ends[1] - ends[0]))
