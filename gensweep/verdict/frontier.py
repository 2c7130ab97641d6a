"""The best group at each budget of one training: curves with bands, probabilities, and where the best changes.

A group is a family or a sweep.  Its score at a budget is the expected best of k configurations, each trained with
that budget.  All groups use the same k, so that none wins by having more tries.
Shapes: g groups, b budgets, r draws of the bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from gensweep.results import Mode, order_of
from gensweep.verdict.budget_scores import budget_scores, failed_at, intervals, unknown_at, worst_within
from gensweep.verdict.expected_best import MIN_CONFIGURATIONS, TAIL, best_of_k, pooled, tries_for
from gensweep.verdict.standings import DRAWS, shares_of_wins
from gensweep.verdict.training_curves import BUDGET_TOLERANCE, FrontierPoint, Scale, TrainingCurve


@dataclass(frozen=True)
class Flip:
    """A budget where the best group changes from `below` to `above`, with its 95 % interval.

    An end of the interval is None if the crossing may be outside the budgets, or nowhere.
    """

    value: float
    low: float | None
    high: float | None
    below: str
    above: str

    @property
    def supported(self) -> bool:
        """True if the best group changes within the budgets with 95 % confidence."""
        return self.low is not None and self.high is not None


def flips_between(
    budgets: Float64[ndarray, " b"], difference: Float64[ndarray, " b"], draws: Float64[ndarray, "r b"], column: int
) -> tuple[float, float | None, float | None]:
    """The budget where "group below minus group above" turns from negative to positive, and its interval.

    It is negative at `column` and not at the next one.  Each draw contributes its nearest crossing.  A draw without
    one crosses beyond the last budget if the group below is better there, else before the first.
    """
    positions = np.log(budgets)
    value = _crossings(positions, difference[None])[0, column]
    places = _crossings(positions, draws)
    places[:, -1] = np.where(draws[:, -1] < 0, np.inf, -np.inf)  # for draws without a crossing
    distances = np.abs(places - value)
    nearest = np.take_along_axis(places, np.argmin(np.nan_to_num(distances, nan=np.inf), 1)[:, None], 1)[:, 0]
    without = np.isnan(places[:, :-1]).all(1)
    nearest = np.where(without, places[:, -1], nearest)
    ends = (np.quantile(nearest, end, method="inverted_cdf") for end in (TAIL, 1 - TAIL))
    low, high = (float(np.exp(end)) if np.isfinite(end) else None for end in ends)
    return float(np.exp(value)), low, high


def _crossings(positions: Float64[ndarray, " b"], differences: Float64[ndarray, "r b"]) -> Float64[ndarray, "r b"]:
    """Linear crossing of each difference between a budget and the next; NaN without one, and at the last budget."""
    before, after = differences[:, :-1], differences[:, 1:]
    row, column = np.nonzero((before < 0) & (after >= 0))
    with np.errstate(invalid="ignore"):
        share = before[row, column] / (before[row, column] - after[row, column])
    share = np.nan_to_num(share, nan=1.0)  # a group without a score at that budget
    places = np.full(differences.shape, np.nan)
    places[row, column] = positions[column] + share * np.diff(positions)[column]
    return places


#: Number of budgets for curves and comparisons, evenly spaced in their logarithm.
BUDGETS = 64
#: A group needs this many configurations to be compared.
MIN_TO_COMPARE = 2
#: With stopped trainings in a group, certainty needs this many known scores at the budget.
MIN_KNOWN = 5
#: Largest probability with fewer: one or two trainings cannot check the model of stopped trainings.
MOST_UNKNOWN = 0.9


@dataclass(frozen=True)
class GroupCurve:
    """Expected best of a group at each budget that pays for its scores.

    Of its `trainings`, `stopped` ended before the budget, so their scores are predicted; `failed` count as no score.
    `configurations` counts the others.
    """

    group: str
    points: tuple[FrontierPoint, ...]
    configurations: int
    trainings: int
    stopped: int
    failed: int = 0

    @property
    def known(self) -> int:
        """Number of trainings with a measured score at the budget."""
        return self.trainings - self.stopped - self.failed

    @property
    def too_few_known(self) -> bool:
        """True if trainings were stopped and too few are known at the budget to be certain."""
        return self.stopped > 0 and self.known < MIN_KNOWN


@dataclass(frozen=True)
class Frontier:
    """Curves of groups over the same budgets, each the expected best of `tries` configurations."""

    tries: int
    budgets: Float64[ndarray, " b"]
    curves: tuple[GroupCurve, ...]
    centres: Float64[ndarray, "g b"]
    """On the scale of scores; infinite where a budget does not pay for a group."""
    draws: Float64[ndarray, "g r b"]
    too_few_known: Bool[ndarray, "g b"]
    """True for groups with stopped trainings and too few known scores to be certain."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups."""
        return tuple(curve.group for curve in self.curves)

    def best_at(self, budget: float) -> str:
        """Group with the best expected score at one of `budgets`."""
        return self.groups[int(np.argmin(self.centres[:, self._column(budget)]))]

    def probabilities(self, budget: float) -> dict[str, float]:
        """By group, the probability that it is the best at one of `budgets`."""
        column = self._column(budget)
        shares, compared = shares_of_wins(self.draws[:, :, column]), np.isfinite(self.centres[:, column])
        excess = shares.max() - MOST_UNKNOWN
        if excess > 0 and compared.sum() > 1 and self.too_few_known[:, column].any():
            best = np.argmax(shares)
            shares = shares + np.where(compared, excess / (compared.sum() - 1), 0.0)
            shares[best] = MOST_UNKNOWN
        return dict(zip(self.groups, map(float, shares), strict=True))

    def _column(self, budget: float) -> int:
        return int(np.argmin(np.abs(self.budgets - budget)))

    @cached_property
    def flips(self) -> tuple[Flip, ...]:
        """Budgets where the best group changes, in ascending order."""
        found, best = [], np.argmin(self.centres, 0)
        for column in np.flatnonzero(np.diff(best)):
            below, above = int(best[column]), int(best[column + 1])
            difference = _difference(self.centres[below], self.centres[above])
            if difference[column] == 0:  # the two groups were equal until there
                continue
            draws = _difference(self.draws[below], self.draws[above])
            value, low, high = flips_between(self.budgets, difference, draws, int(column))
            if high is not None and self.too_few_known[[below, above], self._column(high)].any():
                high = None
            found.append(Flip(value, low, high, below=self.groups[below], above=self.groups[above]))
        return tuple(found)


def group_curves(curves: Sequence[TrainingCurve]) -> dict[str, list[TrainingCurve]]:
    """Trainings by group, in order of appearance; groups where all failed are left out."""
    groups: dict[str, list[TrainingCurve]] = {each.group: [] for each in curves if each.points and not each.failed}
    for curve in curves:
        if curve.group in groups and (curve.points or curve.failed):
            groups[curve.group].append(curve)
    return groups


def reach(curves: Sequence[TrainingCurve]) -> tuple[float, float]:
    """Budget that pays for each training's first score, and the largest amount spent without failing."""
    first = max(curve.points[0].spent for curve in curves if curve.points)
    return first, max(curve.spent for curve in curves if not curve.failed)


def common_budgets(
    curves: Sequence[TrainingCurve], overheads: Mapping[str, float] | None = None
) -> tuple[float, float] | None:
    """Smallest budget with scores of all groups, and the largest that all reached; None if they do not overlap.

    Each group pays its `overheads` in addition to the training.
    """
    extra = overheads or {}
    ends = {group: reach(trainings) for group, trainings in group_curves(curves).items()}
    first, last = max(end[0] for end in ends.values()), min(end[1] for end in ends.values())
    paid = [extra.get(group, 0.0) for group in ends]
    if first > last * (1 + BUDGET_TOLERANCE):
        return None
    return first + min(paid), max(first, last) + max(paid)


def frontier(
    curves: Sequence[TrainingCurve],
    budget: float | None = None,
    *,
    overheads: Mapping[str, float] | None = None,
    mode: Mode = "min",
) -> Frontier:
    """Curves of all groups in their common range of budgets, including `budget` (by default the largest).

    Each group needs `MIN_TO_COMPARE` configurations.  Budgets include the `overheads`.  Draws are independent between
    groups and joint over budgets.  A failed training scores the worst of all trainings at the budget.  Points are
    scores of that `mode`.
    """
    groups, extra, sign = group_curves(curves), overheads or {}, order_of(1.0, mode)
    common = common_budgets(curves, extra)
    assert common is not None
    low, high = common
    grid = np.geomspace(low, high, BUDGETS) if high > low else np.array([high])
    grid[0], grid[-1] = low, high
    if budget is not None:
        grid = np.unique(np.append(grid, budget))
    judged = len(grid) - 1 if budget is None else int(np.argmin(np.abs(grid - budget)))
    scale = Scale.of(np.array([point.order for curve in curves for point in curve.points]))
    k = tries_for(min(len({curve.configuration for curve in trainings}) for trainings in groups.values()))
    centres = np.full((len(groups), len(grid)), np.inf)
    draws, found = np.full((len(groups), DRAWS, len(grid)), np.inf), []
    too_few = np.zeros(centres.shape, bool)
    left = {group: _left_for_training(each, grid, extra.get(group, 0.0)) for group, each in groups.items()}
    worst = np.fmax.reduce([worst_within(each, left[group][0]) for group, each in groups.items()])
    for row, (group, trainings) in enumerate(groups.items()):
        training_budgets, paid = left[group]
        first, interval = intervals(trainings, training_budgets[paid], worst[paid])
        drawn = budget_scores(trainings, training_budgets[paid][first], scale, worst[paid][first])
        best = pooled(
            [best_of_k(each.scores, k, variances=each.variances, scale=scale, failed=each.failed) for each in drawn]
        )
        centres[row, paid] = best.centre[interval]
        draws[row][:, paid] = best.draws(DRAWS, np.random.default_rng((0, row)))[:, interval]
        scored = np.zeros(len(grid), int)
        scored[paid] = np.sum(~drawn[0].failed, -1)[interval]
        ends = np.sort(sign * np.stack(best.band), 0)[:, interval]
        bands = np.where(scored[paid] >= MIN_CONFIGURATIONS, ends, np.nan).T
        unknown, failed = unknown_at(trainings, training_budgets), failed_at(trainings, training_budgets)
        too_few[row] = unknown.any(0) & (np.sum(~unknown & ~failed, 0) < MIN_KNOWN)
        points = tuple(
            FrontierPoint(float(at), float(value), *(None if np.isnan(each) else float(each) for each in band))
            for at, value, band in zip(grid[paid], sign * best.value[interval], bands, strict=True)
        )
        stopped, lost = (int(ended[:, judged].sum()) for ended in (unknown, failed))
        found.append(GroupCurve(group, points, int(scored[judged]), len(trainings), stopped, lost))
    return Frontier(k, grid, tuple(found), centres, draws, too_few)


def _left_for_training(
    curves: Sequence[TrainingCurve], budgets: Float64[ndarray, " b"], overhead: float
) -> tuple[Float64[ndarray, " b"], Bool[ndarray, " b"]]:
    """Part of each budget left for training, and True if that pays for a score of each group.

    Subtracting a much larger overhead loses digits.
    """
    first = reach(curves)[0]
    paid = budgets >= (first + overhead) * (1 - 1e-12)
    return np.where(paid, np.maximum(budgets - overhead, first), budgets - overhead), paid


def _difference(first: Float64[ndarray, "..."], second: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
    """How much worse the first is; 0 if the budget pays for neither."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nan_to_num(first - second, nan=0.0, posinf=np.inf, neginf=-np.inf))
