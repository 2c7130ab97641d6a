"""The best score of a whole search against what the search costs.

A draw of a search is a score and a cost: a trial that was stopped early adds the best score that it reached, and only
what it really spent.  Shapes: ... any number of leading axes, n trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64
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

#: Sizes of a search that are told apart: each takes time in proportion to all trials.
MOST_SIZES = 200


def worst_of(curves: Iterable[TrainingCurve]) -> float:
    """The worst objective of all trainings that did not fail."""
    return max(min(point.order for point in curve.points) for curve in curves if curve.points and not curve.failed)


def search_frontier(curves: Sequence[TrainingCurve], failure: float | None = None) -> tuple[FrontierPoint, ...]:
    """The expected best score of a search of k trials of a group, for k of `search_sizes`, against its cost.

    A search of k trials costs k times the mean cost of a trial.  Trainings that only repeat a configuration with
    another seed are no draws of the search.  Without a band where k is more than a third of the trials, or where too
    few of them went well.  One that failed scores `failure`, by default the worst score of the group, and cost what it
    had spent at its last score, or as much as any other until its first one.
    """
    first: dict[str, TrainingCurve] = {}
    for curve in curves:
        if curve.points or curve.failed:
            first.setdefault(curve.configuration, curve)
    n, nothing = len(first), worst_of(curves) if failure is None else failure
    went_well = sum(not each.failed for each in first.values())
    scores = np.array([nothing if each.failed else min(p.order for p in each.points) for each in first.values()])
    early = max(curve.points[0].spent for curve in curves if curve.points)
    costs = np.array([curve.spent or early for curve in first.values()])
    sizes = search_sizes(n)
    budgets = float(costs.mean()) * sizes
    points = [
        FrontierPoint(float(at), float(expected_best(scores, int(k)))) for k, at in zip(sizes, budgets, strict=True)
    ]
    sure = int(np.sum(sizes <= n // CONFIGURATIONS_PER_TRY)) if went_well >= MIN_CONFIGURATIONS else 0
    for index, best in enumerate(search_bests(scores, costs, budgets[:sure]) if sure else ()):
        low, high = best.band
        points[index] = replace(points[index], low=float(low), high=float(high))
    return tuple(points)


def search_bests(
    scores: Float64[ndarray, "... n"], costs: Float64[ndarray, "... n"], budgets: Iterable[float]
) -> list[BestOfK]:
    """For each budget the expected best of as many trials as it pays for on average, with the error of their cost.

    Between the numbers of trials of `search_sizes` it changes linearly.  A budget must pay for less than half of the
    trials.
    """
    n, scale = scores.shape[-1], Scale.of(scores)
    # Without a cheap trial a budget pays for fewer, without a dear one for more, but hardly for twice as many.
    sizes = search_sizes(max(2, n // 2))
    best = np.stack([expected_best(scores, int(k)) for k in sizes], -1)
    left = np.stack([without_each(scores, int(k)) for k in sizes], -1)
    mean, mean_without = costs.mean(-1), (costs.sum(-1, keepdims=True) - costs) / (n - 1)
    return [
        BestOfK(
            scale.forward(_between(sizes, best, budget / mean)),
            jackknife_influences(scale.forward(_between(sizes, left, budget / mean_without))),
            (n - 1) / np.maximum(budget / mean, 1.0),
            scale,
        )
        for budget in budgets
    ]


def search_sizes(trials: int) -> Int64[ndarray, " k"]:
    """Numbers of trials from 1 to all of them; of more than `MOST_SIZES`, about as many in equal ratios."""
    if trials <= MOST_SIZES:
        return np.arange(1, trials + 1)
    return np.unique(np.geomspace(1, trials, MOST_SIZES).round().astype(np.int64))


def _between(
    sizes: Int64[ndarray, " k"], best: Float64[ndarray, "... k"], tries: Float64[ndarray, "..."]
) -> Float64[ndarray, "..."]:
    """The expected best of a number of tries that need not be among the sizes; within their range."""
    tries = np.clip(tries, sizes[0], sizes[-1])
    upper = np.clip(np.searchsorted(sizes, tries, side="right"), 1, len(sizes) - 1)
    ends = [np.take_along_axis(best, index[..., None], -1)[..., 0] for index in (upper - 1, upper)]
    share = (tries - sizes[upper - 1]) / (sizes[upper] - sizes[upper - 1])
    return np.asarray(ends[0] + share * (ends[1] - ends[0]))
