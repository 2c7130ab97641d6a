"""The scores of a group's configurations if each training gets the same budget.

Shapes: t trainings, n configurations, b budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from gensweep.compute.curves import BUDGET_TOLERANCE, TrainingCurve
from gensweep.compute.scale import Scale


@dataclass(frozen=True)
class BudgetScores:
    """Scores of configurations, with the variances of what made them differ from the true ones."""

    configurations: tuple[str, ...]
    scores: Float64[ndarray, "b n"]
    variances: Float64[ndarray, "b n"]


def budget_scores(
    curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"], scale: Scale | None = None
) -> BudgetScores:
    """What the configurations of a group score at each budget, which must pay for the first score of each."""
    scores, errors = scores_within(curves, budgets)
    scale = scale or Scale.of(_finite(scores))
    return by_configuration(curves, _continued(curves, budgets, scores, scale), errors, scale)


def by_configuration(
    curves: Sequence[TrainingCurve],
    scores: Float64[ndarray, "t b"],
    errors: Float64[ndarray, "t b"],
    scale: Scale,
) -> BudgetScores:
    """A configuration scores the mean of its trainings.

    Its variance is that of a score between trainings of one configuration, pooled over those that were trained with
    several seeds, divided by their number; with one seed everywhere it is the squared error of the score alone, and the
    luck of a seed counts as merit.
    """
    names = tuple(dict.fromkeys(curve.configuration for curve in curves))
    member = np.array([[curve.configuration == name for curve in curves] for name in names], float)
    trainings = member.sum(1)[:, None]
    means = member @ scores / trainings
    own = np.square(scale.relative(errors, scores))
    variances = member @ own / trainings
    if len(curves) > len(names):
        deviations = scale.relative(scores - member.T @ means, member.T @ means)
        between = np.square(deviations).sum(0) / (len(curves) - len(names))
        variances = np.broadcast_to(np.maximum(between, own.mean(0)), means.shape)
    size = np.square(means) if scale.sign else 1.0
    return BudgetScores(names, means.T, (variances / trainings * size).T)


def scores_within(
    curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]
) -> tuple[Float64[ndarray, "t b"], Float64[ndarray, "t b"]]:
    """The best score that each budget pays for, and its error; NaN below the first score."""
    scores, errors = np.full((2, len(curves), len(budgets)), np.nan)
    for row, curve in enumerate(curves):
        spent, order, error = np.array([(point.spent, point.order, point.error) for point in curve.points]).T
        best = np.minimum.accumulate(order)
        first = np.array([int(np.flatnonzero(order == value)[0]) for value in best])
        paid = np.searchsorted(spent, budgets * (1 + BUDGET_TOLERANCE), side="right") - 1
        scores[row, paid >= 0] = best[paid[paid >= 0]]
        errors[row, paid >= 0] = error[first[paid[paid >= 0]]]
    return scores, errors


def unknown_at(curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]) -> Bool[ndarray, "t b"]:
    """Trainings that were stopped early, before they had spent the budget: what they would score is not known."""
    stopped = np.array([curve.stopped_early for curve in curves])
    spent = np.array([curve.spent for curve in curves])
    return np.asarray(stopped[:, None] & (spent[:, None] * (1 + BUDGET_TOLERANCE) < budgets))


def _continued(
    curves: Sequence[TrainingCurve],
    budgets: Float64[ndarray, " b"],
    scores: Float64[ndarray, "t b"],
    scale: Scale,
) -> Float64[ndarray, "t b"]:
    """Scores in which trainings that were stopped early get better as those that went on did.

    From where it was stopped, such a training changes on the scale by the median change of those whose score at the
    budget is known.  It stays behind them as it was behind when it was stopped.  Its best score so far, an upper bound,
    would let a group look worse, the more of it was stopped.
    """
    unknown = unknown_at(curves, budgets)
    rows = np.flatnonzero(unknown.any(1))
    values, continued = scale.forward(scores), scores.copy()
    at_stop = scale.forward(scores_within(curves, np.array([curves[int(row)].spent for row in rows]))[0])
    for index, row in enumerate(map(int, rows)):
        changes = np.where(unknown, np.nan, values - at_stop[:, index, None])
        columns = np.flatnonzero(unknown[row] & np.isfinite(changes).any(0))
        change = np.minimum(np.nanmedian(changes[:, columns], 0), 0.0) if len(columns) else 0.0
        continued[row, columns] = scale.back(values[row, columns] + change)
    return continued


def _finite(values: Float64[ndarray, "..."]) -> Float64[ndarray, " n"]:
    return np.asarray(values[np.isfinite(values)])
