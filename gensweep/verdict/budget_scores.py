"""Scores of t trainings of n configurations if each training gets one of b budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

from gensweep.verdict.training_curves import BUDGET_TOLERANCE, Scale, TrainingCurve

#: Largest number of distinct stopping amounts: each costs time in proportion to all trainings.
MOST_STOPS = 6


@dataclass(frozen=True)
class BudgetScores:
    """Scores of configurations and the variances of their errors; `failed` configurations have no score."""

    configurations: tuple[str, ...]
    scores: Float64[ndarray, "b n"]
    variances: Float64[ndarray, "b n"]
    failed: Bool[ndarray, "b n"]


def budget_scores(
    curves: Sequence[TrainingCurve],
    budgets: Float64[ndarray, " b"],
    scale: Scale | None = None,
    failure: Float64[ndarray, " b"] | None = None,
) -> list[BudgetScores]:
    """Scores of a group's configurations at each budget, which must pay for the first score of each.

    With trainings that stopped early there are several draws of the unknown scores, else one.
    A training that failed before the budget scores `failure`, by default the worst score of the group.
    """
    scores, errors = scores_within(curves, budgets)
    failed = failed_at(curves, budgets)
    scale = scale or Scale.of(scores[np.isfinite(scores)])
    continued = _continued(curves, budgets, np.where(failed, np.nan, scores), scale)
    counted = np.where(failed, worst_within(curves, budgets) if failure is None else failure, continued)
    return [by_configuration(curves, each, errors, scale, failed) for each in counted]


def intervals(
    curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"], failure: Float64[ndarray, " b"]
) -> tuple[Int64[ndarray, " i"], Int64[ndarray, " b"]]:
    """The first budget of each interval without changes, and the interval of each ascending budget."""
    ended = failed_at(curves, budgets) | unknown_at(curves, budgets)  # a training is never in both
    known = np.vstack([*scores_within(curves, budgets), ended, failure])
    changes = np.append(True, np.any(np.diff(np.nan_to_num(known)) != 0, axis=0))
    return np.flatnonzero(changes), np.cumsum(changes) - 1


def by_configuration(
    curves: Sequence[TrainingCurve],
    scores: Float64[ndarray, "t b"],
    errors: Float64[ndarray, "t b"],
    scale: Scale,
    failed: Bool[ndarray, "t b"] | None = None,
) -> BudgetScores:
    """Mean score of each configuration's trainings, with its variance.

    The variance is that between trainings of one configuration, pooled over all with several seeds, divided by their
    number.  With one seed everywhere, it is the squared error of the score, and lucky seeds count as merit.  Failed
    trainings do not count.
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
    """Pooled variance between trainings of one configuration, on the scale; 0 if there are none."""
    counts = _summed(scored.astype(float), member)
    means = (_summed(np.where(scored, scores, 0.0), member) / np.maximum(counts, 1))[member]
    deviations = np.where(scored, scale.relative(scores - means, np.where(scored, means, 1.0)), 0.0)
    freedom = scored.sum(0) - (counts > 0).sum(0)
    return np.asarray(np.square(deviations).sum(0) / np.maximum(freedom, 1))


def _summed(values: Float64[ndarray, "t b"], member: Int64[ndarray, " t"]) -> Float64[ndarray, "n b"]:
    """Sum over the trainings of each configuration; `member` is the configuration of each training."""
    return np.column_stack([np.bincount(member, column) for column in values.T])


def scores_within(
    curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]
) -> tuple[Float64[ndarray, "t b"], Float64[ndarray, "t b"]]:
    """The best score within each budget, and its error; NaN below the first score."""
    counts = np.array([len(curve.points) for curve in curves])
    rows = np.repeat(np.arange(len(curves)), counts)
    columns = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    points = [(point.spent, point.order, point.error) for curve in curves for point in curve.points]
    spent, order, error = table = np.full((3, len(curves), max(1, counts.max(initial=0))), np.inf)
    table[:, rows, columns] = np.reshape(points, (-1, 3)).T
    best = np.minimum.accumulate(order, 1)
    improved = np.column_stack([np.ones(len(curves), bool), order[:, 1:] < best[:, :-1]])
    first = np.maximum.accumulate(np.where(improved, np.arange(order.shape[1]), 0), 1)
    paid = np.sum(spent[:, None] <= budgets[:, None] * (1 + BUDGET_TOLERANCE), -1) - 1
    last = np.maximum(paid, 0)
    scores = np.take_along_axis(best, last, 1)
    errors = np.take_along_axis(error, np.take_along_axis(first, last, 1), 1)
    return np.where(paid < 0, np.nan, scores), np.where(paid < 0, np.nan, errors)


def failed_at(curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]) -> Bool[ndarray, "t b"]:
    """Trainings that failed before they had spent the budget."""
    failed, spent = np.array([(curve.failed, curve.spent) for curve in curves]).T[..., None]
    return np.asarray((failed > 0) & (spent * (1 + BUDGET_TOLERANCE) < budgets))


def worst_within(curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]) -> Float64[ndarray, " b"]:
    """Worst score among trainings that did not fail within each budget; NaN if all failed."""
    scores = np.where(failed_at(curves, budgets), np.nan, scores_within(curves, budgets)[0])
    return np.asarray(np.fmax.reduce(scores, axis=0))


def unknown_at(curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"]) -> Bool[ndarray, "t b"]:
    """Trainings that stopped early within each budget, so their score there is unknown."""
    stopped = np.array([curve.stopped_early for curve in curves])
    spent = np.array([curve.spent for curve in curves])
    return np.asarray(stopped[:, None] & (spent[:, None] * (1 + BUDGET_TOLERANCE) < budgets))


def _continued(
    curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"], scores: Float64[ndarray, "t b"], scale: Scale
) -> Float64[ndarray, "m t b"]:
    """Draws of the scores at each budget; only stopped trainings differ between draws.

    A drawn score is at most as bad as the last known one, and equals it at budgets without any other known score.
    """
    unknown = unknown_at(curves, budgets) & np.isfinite(scores)
    if not unknown.any():
        return scores[None]
    drawn = np.repeat(scores[None], IMPUTATIONS, 0)
    spent = np.array([curve.spent for curve in curves])
    for column, budget in enumerate(budgets):
        stopped, last_scores = unknown[:, column], scores[:, column]
        if not stopped.any() or not np.isfinite(last_scores[~stopped]).any():
            continue
        stops, stop = _stops(spent[stopped])
        values = np.column_stack([scores_within(curves, stops)[0], last_scores])
        known = np.column_stack([stops <= spent[:, None], ~stopped]) & np.isfinite(values)
        values[stopped, stop], known[stopped, stop] = last_scores[stopped], True
        positions = np.log(np.append(stops / budget, 1.0))
        found = draw_last(scale.forward(values), known, positions, np.random.default_rng(0))[:, stopped]
        drawn[:, stopped, column] = scale.back(np.minimum(found, scale.forward(last_scores[stopped])))
    return drawn


def _stops(spent: Float64[ndarray, " r"]) -> tuple[Float64[ndarray, " s"], Int64[ndarray, " r"]]:
    """At most `MOST_STOPS` amounts at which trainings stopped, and the next one for each training."""
    stops = np.unique(spent)
    if len(stops) > MOST_STOPS:
        stops = stops[np.linspace(0, len(stops) - 1, MOST_STOPS).astype(int)]
    return stops, np.searchsorted(stops, spent)


#: Draws of a group's scores: gives their spread to within a ninth.
IMPUTATIONS = 40
#: Candidate variances of slopes and noise, relative to the variance of intercepts.
SLOPES = np.geomspace(0.003, 3.0, 10)
NOISES = np.geomspace(0.001, 1.0, 4)
#: With fewer degrees of freedom, the draws have no finite variance.
MIN_FREEDOM = 4


def draw_last(
    values: Float64[ndarray, "t k"],
    known: Bool[ndarray, "t k"],
    positions: Float64[ndarray, " k"],
    generator: np.random.Generator,
) -> Float64[ndarray, "m t"]:
    """Draws of the values at the last knot, where at least one training must be known.

    `positions` are logarithms of the knots relative to the last one; each knot needs one known training.
    Trainings with a known last value keep it.
    """
    trainings, k = values.shape
    freedom = max(int(known.sum()) - k, MIN_FREEDOM)
    uniform, chi_squares = generator.random(IMPUTATIONS), generator.chisquare(freedom, IMPUTATIONS)
    own = generator.standard_normal((IMPUTATIONS, trainings))
    # Start at the last knot, so that draws at neighbouring amounts match.
    of_mean = generator.standard_normal((IMPUTATIONS, k))[:, ::-1]
    slopes, noises = (each.reshape(-1, 1, 1) for each in np.meshgrid(SLOPES, NOISES))
    covariances = 1.0 + slopes * np.outer(positions, positions) + noises * np.eye(k)
    middle = values[known].mean()
    values = np.where(known, values - middle, 0.0)
    patterns, member = np.unique(known, axis=0, return_inverse=True)
    means, roots, squares, likelihoods = _fits(values, patterns, member.reshape(-1), covariances, freedom)
    chances = np.cumsum(np.exp(likelihoods - likelihoods.max()))
    chosen = np.searchsorted(chances, uniform * chances[-1])
    size = np.sqrt(squares[chosen] / chi_squares)[:, None]
    mean = means[chosen] + size * np.einsum("mk,mkl->ml", of_mean, roots[chosen])
    drawn = np.repeat(values[None, :, -1], IMPUTATIONS, 0)
    for index, pattern in enumerate(patterns):
        if pattern[-1] or not pattern.any():
            continue
        of, across = member.reshape(-1) == index, covariances[:, pattern, -1]
        weights = np.linalg.solve(covariances[:, pattern][:, :, pattern], across[..., None])[..., 0]
        left = np.sqrt(covariances[:, -1, -1] - np.sum(across * weights, -1))[chosen, None]
        apart = values[of][:, pattern] - mean[:, None, pattern]
        drawn[:, of] = mean[:, -1:] + np.einsum("mto,mo->mt", apart, weights[chosen]) + size * left * own[:, of]
    return np.asarray(middle + drawn)


def _fits(
    values: Float64[ndarray, "t k"],
    patterns: Bool[ndarray, "p k"],
    member: Int64[ndarray, " t"],
    covariances: Float64[ndarray, "r k k"],
    freedom: int,
) -> tuple[Float64[ndarray, "r k"], Float64[ndarray, "r k k"], Float64[ndarray, " r"], Float64[ndarray, " r"]]:
    """For each covariance: the mean by generalised least squares, a root of its covariance, squares, log-likelihood.

    The third result holds residual sums of squares; the likelihood is restricted (REML).  Source: Harville 1977.
    """
    precision, sums = np.zeros_like(covariances), np.zeros(covariances.shape[:2])
    squares, determinants = np.zeros((2, len(covariances)))
    for index, pattern in enumerate(patterns):
        found = values[member == index][:, pattern]
        inverse = np.linalg.inv(covariances[:, pattern][:, :, pattern])
        precision[:, np.outer(pattern, pattern)] += len(found) * inverse.reshape(len(inverse), -1)
        sums[:, pattern] += inverse @ found.sum(0)
        squares += np.einsum("ti,rij,tj->r", found, inverse, found)
        determinants -= len(found) * np.linalg.slogdet(inverse)[1]
    means = np.linalg.solve(precision, sums[..., None])[..., 0]
    left = np.maximum(squares - np.sum(sums * means, -1), 1e-12)
    likelihoods = -0.5 * (determinants + np.linalg.slogdet(precision)[1] + freedom * np.log(left))
    return means, np.linalg.inv(np.linalg.cholesky(precision)), left, likelihoods
