"""The verdict at a budget: computed once, here; sentences, tables, JSON and figures render it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from gensweep.compute.amounts import Amount
from gensweep.compute.curves import BUDGET_TOLERANCE, CurvePoint, FrontierPoint, TrainingCurve
from gensweep.compute.flips import Flip
from gensweep.compute.frontier import (
    MIN_TO_COMPARE,
    Frontier,
    GroupCurve,
    common_budgets,
    frontier,
    group_curves,
)
from gensweep.compute.search_cost import search_frontier, worst_of
from gensweep.compute.standings import Standing, chances_of_best, standings
from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.report.budget_range import known_budget, no_common_budget
from gensweep.report.doubts import doubts
from gensweep.report.training_curves import TrainedCurves, sampling_costs
from gensweep.report.wording import SURE

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial

Mode: TypeAlias = Literal["min", "max"]


@dataclass(frozen=True)
class BudgetVerdict:
    """Which trial to take for a budget of one training, and how sure that is.

    Without a `budget` there is none that all have in common, and each trial counts with its best score.  `group` is the
    winner's, if groups were compared, each by the expected best of `tries` configurations; it is None if trained models
    were compared one by one, since there were too few.  `probability` is that of the group, or else of the model, to be
    the best; None if nothing is known of it.  `score` is what the winner scored within the budget, the mean of as many
    trainings as `seeds`; its `interval`, at 95 %, holds the variance between trainings.  The budget also pays for
    `draw` images, which cost each group its `overheads`.

    `curves` are those of the groups, `searches` those of whole searches by group, as scores.  `flips` are budgets where
    the best group changes, `unsure` those where it may.
    """

    budget: Amount | None
    winner: RankedTrial
    score: float
    interval: tuple[float, float] | None = None
    """None if no configuration was trained with several seeds."""
    group: str | None = None
    probability: float | None = None
    seeds: int = 1
    tries: int = 1
    draw: int = 0
    overheads: Mapping[str, float] = field(default_factory=dict)
    trained: TrainedCurves | None = None
    curves: tuple[GroupCurve, ...] = ()
    searches: Mapping[str, tuple[FrontierPoint, ...]] = field(default_factory=dict)
    flips: tuple[Flip, ...] = ()
    unsure: tuple[Flip, ...] = ()
    best_of_all: tuple[RankedTrial, float] | None = None
    """The best configuration within the budget, if it is another one, and what it scored there."""
    no_budget: str | None = None
    """Why there is no common budget, or none in the unit that comes first."""
    warnings: tuple[str, ...] = ()

    @property
    def pays_for_best(self) -> bool:
        """Whether the budget pays for the winner's best checkpoint, which a longer training may have found later."""
        if self.budget is None or self.trained is None or self.winner.trial.run_id not in self.trained.costs:
            return True
        to_best, _ = self.trained.costs[self.winner.trial.run_id]
        drawing = self.overheads.get(self.trained.groups[self.winner.trial.run_id], 0.0)
        return to_best <= (self.budget.value - drawing) * (1 + BUDGET_TOLERANCE)

    @property
    def too_close(self) -> bool:
        """Whether the best cannot be told from others."""
        return self.probability is None or self.probability < SURE


def judge(comparison: Comparison, budget: Amount | None = None, draw: int = 0) -> BudgetVerdict:
    """The verdict at a budget of one training, by default the largest that all groups reached.

    With `draw` the budget also pays for so many images.  Groups of one configuration are compared only if there are no
    two larger ones.  Raises ConfigError for a budget of which nothing is known, NothingToCompareError if the groups
    have none in common.
    """
    readings = [each for unit, each in comparison.trained.items() if budget is None or unit == budget.unit]
    # Drawing images costs no training images.
    found = [_compared(each) for each in readings if not draw or budget is not None or each.unit != "images"]
    if not found:
        if budget is None and not draw:
            return _without_budget(comparison, None, "no trial was trained here, so there is no budget")
        wanted = "flops or device_seconds" if budget is None else budget.unit
        raise ConfigError(
            f"--{'draw' if budget is None else 'budget'}: no trial has on record what it spent in {wanted}; give the "
            "budget in another unit, or none"
        )
    compared = next((each for each in found if each.common is not None), found[0])
    if compared.common is None:
        words = no_common_budget(compared.judged, compared.trained.unit)
        if budget is None and not draw:
            return _without_budget(comparison, compared.trained, words)
        raise NothingToCompareError(f"nothing to compare at one budget: {words}")
    overheads = sampling_costs(compared.trained, draw) if draw else {}
    at = known_budget(budget, compared.judged, overheads)
    made = _at_budget(compared, at, overheads, comparison.score.mode)
    if compared is not found[0]:
        made = replace(made, no_budget=no_common_budget(found[0].judged, found[0].trained.unit))
    made = replace(made, draw=draw)
    return replace(made, warnings=tuple(doubts(comparison, made)))


@dataclass(frozen=True)
class _Compared:
    """Which trainings are compared: those of groups of several configurations, if there are two such groups."""

    trained: TrainedCurves
    populations: Mapping[str, Sequence[TrainingCurve]]
    judged: Sequence[TrainingCurve]
    common: tuple[float, float] | None


def _compared(trained: TrainedCurves) -> _Compared:
    groups = group_curves(trained.attempts)
    populations = {name: curves for name, curves in groups.items() if _is_population(curves)}
    judged = _flat(populations) if len(populations) > 1 else _flat(groups)
    return _Compared(trained, populations, judged, common_budgets(judged))


def _at_budget(compared: _Compared, at: float, overheads: Mapping[str, float], mode: Mode) -> BudgetVerdict:
    populations, judged = compared.populations, compared.judged
    found = frontier(_flat(populations), at, overheads=overheads) if populations else None
    entries, everyone = compared.trained.entries, standings(judged, at, overheads)
    made = (
        _by_group(entries, found, everyone, at, mode)
        if found is not None and len(populations) > 1
        else _one_by_one(entries, everyone, mode)
    )
    failure = worst_of(judged)
    searches = {name: search_frontier(curves, failure) for name, curves in group_curves(judged).items()}
    return replace(
        made,
        budget=Amount(compared.trained.unit, at),
        tries=1 if found is None else found.tries,
        trained=compared.trained,
        overheads=overheads,
        curves=() if found is None else tuple(replace(e, points=_scores(e.points, mode)) for e in found.curves),
        searches={name: _scores(points, mode) for name, points in searches.items()},
    )


def _by_group(
    entries: Mapping[str, RankedTrial], found: Frontier, everyone: Sequence[Standing], at: float, mode: Mode
) -> BudgetVerdict:
    """The group with the best expected score, and its best configuration."""
    group = found.best_at(at)
    verdict = _of_configuration(entries, [row for row in everyone if row.curve.group == group], mode)
    other = _of_configuration(entries, everyone, mode)
    return replace(
        verdict,
        group=group,
        probability=found.probabilities(at)[group],
        flips=tuple(flip for flip in found.flips if flip.supported),
        unsure=tuple(flip for flip in found.flips if not flip.supported),
        best_of_all=None if other.winner is verdict.winner else (other.winner, other.score),
    )


def _one_by_one(entries: Mapping[str, RankedTrial], everyone: Sequence[Standing], mode: Mode) -> BudgetVerdict:
    """The best configuration, by the errors of the scores alone: it says nothing of other settings of the group."""
    verdict = _of_configuration(entries, everyone, mode)
    known = len(everyone) > 1 and all(row.error > 0 for row in everyone)
    apart = [row.error_apart for row in everyone]
    chances = chances_of_best([row.score for row in everyone], apart, everyone[0].freedom_apart)
    return replace(verdict, probability=float(chances[0]) if known else None)


def _of_configuration(entries: Mapping[str, RankedTrial], rows: Sequence[Standing], mode: Mode) -> BudgetVerdict:
    best, sign = rows[0], 1 if mode == "min" else -1
    ends = [sign * end for end in best.interval or ()]
    return BudgetVerdict(
        None,
        entries[best.curve.trial],
        sign * best.score,
        interval=(min(ends), max(ends)) if ends else None,
        seeds=best.trainings,
    )


def _without_budget(comparison: Comparison, trained: TrainedCurves | None, why: str) -> BudgetVerdict:
    """The verdict where no budget can be compared: the best of all scores, also of what was only scored here."""
    curves = () if trained is None else trained.curves
    entries, known = {each.trial.run_id: each for each in comparison.entries}, {each.trial for each in curves}
    scored = [
        TrainingCurve("", run_id, run_id, (CurvePoint(0.0, each.score.order, each.score.error or 0.0),))
        for run_id, each in entries.items()
        if run_id not in known
    ]
    made = _one_by_one(entries, standings([*scored, *curves], math.inf), comparison.score.mode)
    made = replace(made, trained=trained, no_budget=why)
    return replace(made, warnings=tuple(doubts(comparison, made)))


def _is_population(curves: Sequence[TrainingCurve]) -> bool:
    return len({curve.configuration for curve in curves}) >= MIN_TO_COMPARE


def _flat(groups: Mapping[str, Sequence[TrainingCurve]]) -> list[TrainingCurve]:
    return [curve for curves in groups.values() for curve in curves]


def _scores(points: Sequence[FrontierPoint], mode: Mode) -> tuple[FrontierPoint, ...]:
    """Points whose orders are scores again."""
    if mode == "min":
        return tuple(points)
    return tuple(
        FrontierPoint(
            each.budget,
            -each.best,
            None if each.high is None else -each.high,
            None if each.low is None else -each.low,
        )
        for each in points
    )
