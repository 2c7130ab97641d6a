"""The scores of a group's configurations if each training gets the same budget.

Shapes: t trainings, n configurations, b budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

from gensweep.compute.curves import BUDGET_TOLERANCE, TrainingCurve
from gensweep.compute.scale import Scale

#: Amounts at which trainings were stopped that are told apart: each takes time in proportion to all trainings.
MOST_STOPS = 100


@dataclass(frozen=True)
class BudgetScores:
    """Scores of configurations, with the variances of what made them differ from the true ones.

    Of those that `failed` a training has no score within the budget; a part of theirs is that of a failure.
    """

    configurations: tuple[str, ...]
    scores: Float64[ndarray, "b n"]
    variances: Float64[ndarray, "b n"]
    failed: Bool[ndarray, "b n"]


def budget_scores(
    curves: Sequence[TrainingCurve],
    budgets: Float64[ndarray, " b"],
    scale: Scale | None = None,
    failure: Float64[ndarray, " b"] | None = None,
) -> BudgetScores:
    """What the configurations of a group score at each budget, which must pay for the first score of each.

    A training that failed before the budget scores `failure`, by default the worst score of the group.
    """
    scores, errors = scores_within(curves, budgets)
    failed = failed_at(curves, budgets)
    scale = scale or Scale.of(_finite(scores))
    continued = _continued(curves, budgets, np.where(failed, np.nan, scores), scale)
    counted = np.where(failed, worst_within(curves, budgets) if failure is None else failure, continued)
    return by_configuration(curves, counted, errors, scale, failed)


def by_configuration(
    curves: Sequence[TrainingCurve],
    scores: Float64[ndarray, "t b"],
    errors: Float64[ndarray, "t b"],
    scale: Scale,
    failed: Bool[ndarray, "t b"] | None = None,
) -> BudgetScores:
    """A configuration scores the mean of its trainings.

    Its variance is that of a score between trainings of one configuration, pooled over those that were trained with
    several seeds, divided by their number; with one seed everywhere it is the squared error of the score alone, and the
    luck of a seed counts as merit.  Trainings that failed say nothing of the variance of scores.
    """
    names = tuple(dict.fromkeys(curve.configuration for curve in curves))
    place = {name: number for number, name in enumerate(names)}
    member = np.array([place[curve.configuration] for curve in curves])
    trainings, scored = np.bincount(member)[:, None], np.ones(scores.shape, bool) if failed is None else ~failed
    means = _summed(scores, member) / trainings
    own = np.where(scored, np.square(scale.relative(errors, scores)), 0.0)
    variances = _summed(own, member) / trainings
    if len(curves) > len(names):
        between = _between_seeds(member, scores, scored, scale)
        variances = np.broadcast_to(np.maximum(between, own.mean(0)), means.shape)
    size = np.square(scale.size(means))
    failures = _summed((~scored).astype(float), member) > 0
    return BudgetScores(names, means.T, (variances / trainings * size).T, failures.T)


def _between_seeds(
    member: Int64[ndarray, " t"], scores: Float64[ndarray, "t b"], scored: Bool[ndarray, "t b"], scale: Scale
) -> Float64[ndarray, " b"]:
    """The variance on the scale between trainings of a configuration that have a score, pooled; 0 if there are none."""
    counts = _summed(scored.astype(float), member)
    means = (_summed(np.where(scored, scores, 0.0), member) / np.maximum(counts, 1))[member]
    deviations = np.where(scored, scale.relative(scores - means, np.where(scored, means, 1.0)), 0.0)
    freedom = scored.sum(0) - (counts > 0).sum(0)
    return np.asarray(np.square(deviations).sum(0) / np.maximum(freedom, 1))


def _summed(values: Float64[ndarray, "t b"], member: Int64[ndarray, " t"]) -> Float64[ndarray, "n b"]:
    """By configuration, the sum over its trainings, of which `member` says to which each belongs."""
    sums = np.zeros((member.max() + 1, values.shape[1]))
    np.add.at(sums, member, values)
    return sums


def scores_within(
    curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]
) -> tuple[Float64[ndarray, "t b"], Float64[ndarray, "t b"]]:
    """The best score that each budget pays for, and its error; NaN below the first score."""
    scores, errors = np.full((2, len(curves), len(budgets)), np.nan)
    for row, curve in enumerate(curves):
        if not curve.points:
            continue
        spent, order, error = np.array([(point.spent, point.order, point.error) for point in curve.points]).T
        best = np.minimum.accumulate(order)
        improved = np.append(True, order[1:] < best[:-1])
        first = np.maximum.accumulate(np.where(improved, np.arange(len(order)), 0))
        paid = np.searchsorted(spent, budgets * (1 + BUDGET_TOLERANCE), side="right") - 1
        scores[row, paid >= 0] = best[paid[paid >= 0]]
        errors[row, paid >= 0] = error[first[paid[paid >= 0]]]
    return scores, errors


def failed_at(curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]) -> Bool[ndarray, "t b"]:
    """Trainings that failed before they had spent the budget."""
    failed, spent = np.array([(curve.failed, curve.spent) for curve in curves]).T[..., None]
    return np.asarray((failed > 0) & (spent * (1 + BUDGET_TOLERANCE) < budgets))


def worst_within(curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]) -> Float64[ndarray, " b"]:
    """The worst score of a training that did not fail within each budget; NaN where none has one."""
    scores = np.where(failed_at(curves, budgets), np.nan, scores_within(curves, budgets)[0])
    return np.asarray(np.fmax.reduce(scores, axis=0))


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
    stops, of_rows = _stops(np.array([curves[int(row)].spent for row in rows]))
    at_stop = scale.forward(scores_within(curves, stops)[0])
    for index in range(len(stops)):
        changes = np.where(unknown, np.nan, values - at_stop[:, index, None])
        known = np.isfinite(changes).any(0)
        change = np.full(len(budgets), np.nan)
        change[known] = np.minimum(np.nanmedian(changes[:, known], 0), 0.0)
        for row in rows[of_rows == index]:
            columns = np.flatnonzero(unknown[row] & known)
            continued[row, columns] = scale.back(values[row, columns] + change[columns])
    return continued


def _stops(spent: Float64[ndarray, " r"]) -> tuple[Float64[ndarray, " s"], Int64[ndarray, " r"]]:
    """The amounts at which trainings were stopped, and of each training which one that is.

    Of more than `MOST_STOPS`, so many of them stand for all, and each training has the next larger one.
    """
    stops = np.unique(spent)
    if len(stops) > MOST_STOPS:
        stops = stops[np.linspace(0, len(stops) - 1, MOST_STOPS).astype(int)]
    return stops, np.searchsorted(stops, spent)


def _finite(values: Float64[ndarray, "..."]) -> Float64[ndarray, " n"]:
    return np.asarray(values[np.isfinite(values)])
