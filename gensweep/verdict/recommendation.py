"""The recommendation at a budget.  Sentences, tables, JSON and figures only render it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.results import Unit, order_of
from gensweep.verdict.amounts import Amount
from gensweep.verdict.frontier import MIN_TO_COMPARE, Flip, GroupCurve, common_budgets, frontier, group_curves, reach
from gensweep.verdict.second_look import UNCHECKED, SecondLook, look_again
from gensweep.verdict.standings import Standing, chances_of_best, standings
from gensweep.verdict.training_curves import (
    BUDGET_TOLERANCE,
    CurvePoint,
    TrainedCurves,
    TrainingCurve,
    sampling_costs,
    trained_curves,
)

if TYPE_CHECKING:
    from gensweep.config.prices import Price
    from gensweep.verdict.comparison import Comparison, RankedTrial

#: A lead is too close to call below this probability of being the best.
SURE = 0.95

#: Why the trial with the best score is not recommended: its group has one configuration; its group is expected to do
#: worse; its training cost exceeds the budget; its mean over seeds is worse; its cost is unknown.
Reason: TypeAlias = Literal["alone", "group", "budget", "seeds", "cost"]


@dataclass(frozen=True)
class Recommendation:
    """The trial with the best score, and the recommended trial for a budget of one training.

    Without a common `budget`, `no_budget` gives the reason and each trial counts with its best score.  `group` is the
    group of the recommended trial, compared by the expected best of `tries` configurations; None if single models were
    compared.  `probability` is that of the group, else of the model, to be the best.  `score` is the recommended
    trial's score within the budget, the mean over `seeds`; several seeds give a 95 % `interval`.  The budget also pays
    for `draw` images, at each group's `overheads`.  The best group changes at `flips`, and may change at `unsure`.
    `price` turns device time into money.  `second_look` compares the recommended trial with the `runner_up`, the best
    one of another group or configuration, by the panel.
    """

    best_score: RankedTrial
    recommended: RankedTrial
    score: float
    interval: tuple[float, float] | None = None
    seeds: int = 1
    budget: Amount | None = None
    group: str | None = None
    probability: float | None = None
    tries: int = 1
    draw: int = 0
    overheads: Mapping[str, float] = field(default_factory=dict)
    trained: TrainedCurves | None = None
    curves: tuple[GroupCurve, ...] = ()
    flips: tuple[Flip, ...] = ()
    unsure: tuple[Flip, ...] = ()
    no_budget: str | None = None
    price: Price | None = None
    runner_up: RankedTrial | None = None
    second_look: SecondLook = UNCHECKED

    @property
    def reason(self) -> Reason | None:
        """Why the recommended trial is not the one with the best score; None if it is."""
        first = self.best_score
        if first is self.recommended:
            return None
        if self.trained is None or first.trial.name not in self.trained.costs:
            return "cost"
        if not self.pays_for(first):
            return "budget"
        group = self.trained.groups[first.trial.name]
        if self.group is None or group == self.group:
            return "seeds"
        return "group" if group in {curve.group for curve in self.curves} else "alone"

    def pays_for(self, entry: RankedTrial) -> bool:
        """True if the budget pays for a trial's best evaluation; a longer training may have found a better one."""
        if self.budget is None or self.trained is None or entry.trial.name not in self.trained.costs:
            return True
        to_best, _ = self.trained.costs[entry.trial.name]
        drawing = self.overheads.get(self.trained.groups[entry.trial.name], 0.0)
        return to_best <= (self.budget.value - drawing) * (1 + BUDGET_TOLERANCE)

    @property
    def too_close(self) -> bool:
        """True if the lead is too small to call a winner."""
        return self.probability is None or self.probability < SURE


def recommend(comparison: Comparison, budget: Amount | None = None, draw: int = 0) -> Recommendation:
    """Recommend a trial for a budget of one training, by default the largest that all groups reached.

    With `draw`, the budget also pays for that number of images.  Groups of one configuration are compared only if fewer
    than two groups are larger.  Raises ConfigError for a budget without data, NothingToCompareError if the groups have
    no common budget.
    """
    readings = [each for each in trained_curves(comparison) if budget is None or each.unit == budget.unit]
    # Sampling needs no training images.
    found = [_compared(each) for each in readings if not draw or budget is not None or each.unit != "images"]
    if not found:
        if budget is None and not draw:
            return _without_budget(comparison, None, "no trial was trained here, so there is no budget")
        wanted = "flops or device_seconds" if budget is None else budget.unit
        raise ConfigError(
            f"--{'draw' if budget is None else 'budget'}: no trial has a recorded cost in {wanted}; give the "
            "budget in another unit, or leave it out"
        )
    compared = next((each for each in found if each.common is not None), found[0])
    unlike = None if found[0].common is not None else _no_common_budget(found[0].judged, found[0].trained.unit)
    if compared.common is None:
        if budget is None and not draw:
            return _without_budget(comparison, compared.trained, unlike)
        raise NothingToCompareError(f"nothing to compare at one budget: {unlike}")
    overheads = sampling_costs(compared.trained, draw) if draw else {}
    at = _known_budget(budget, compared.judged, overheads)
    return replace(_at_budget(comparison, compared, at, overheads), draw=draw, no_budget=unlike)


@dataclass(frozen=True)
class _Compared:
    """The trainings to compare: those of groups with several configurations, if two groups have them."""

    trained: TrainedCurves
    populations: Mapping[str, Sequence[TrainingCurve]]
    judged: Sequence[TrainingCurve]
    common: tuple[float, float] | None


def _compared(trained: TrainedCurves) -> _Compared:
    groups, populations = group_curves(trained.curves + trained.failed), dict[str, list[TrainingCurve]]()
    for name, curves in groups.items():
        if len({curve.configuration for curve in curves}) >= MIN_TO_COMPARE:
            populations[name] = curves
    judged = _flat(populations) if len(populations) > 1 else _flat(groups)
    return _Compared(trained, populations, judged, common_budgets(judged))


def _at_budget(
    comparison: Comparison, compared: _Compared, at: float, overheads: Mapping[str, float]
) -> Recommendation:
    judged, trained, mode = compared.judged, compared.trained, comparison.score.mode
    population = _flat(compared.populations)
    found = frontier(population, at, overheads=overheads, mode=mode) if population else None
    rows = standings(judged, at, overheads)
    if found is None or len(compared.populations) < 2:
        made = _one_by_one(comparison, trained.entries, rows)
    else:
        group = found.best_at(at)
        made = replace(
            _of_configuration(
                comparison,
                trained.entries,
                next(row for row in rows if row.curve.group == group),
                [row for row in rows if row.curve.group != group],
            ),
            group=group,
            probability=found.probabilities(at)[group],
            flips=tuple(flip for flip in found.flips if flip.supported),
            unsure=tuple(flip for flip in found.flips if not flip.supported),
        )
    if found is not None:
        made = replace(made, tries=found.tries, curves=found.curves)
    return replace(made, budget=Amount(trained.unit, at), trained=trained, overheads=overheads)


def _one_by_one(comparison: Comparison, entries: Mapping[str, RankedTrial], rows: Sequence[Standing]) -> Recommendation:
    """The best configuration by the errors of the scores alone, without other settings of its group."""
    known = len(rows) > 1 and all(row.error > 0 for row in rows)
    chances = chances_of_best([row.score for row in rows], [row.error_apart for row in rows], rows[0].freedom_apart)
    made = _of_configuration(comparison, entries, rows[0], rows[1:])
    return replace(made, probability=float(chances[0]) if known else None)


def _of_configuration(
    comparison: Comparison, entries: Mapping[str, RankedTrial], best: Standing, others: Sequence[Standing]
) -> Recommendation:
    mode, entry = comparison.score.mode, entries[best.curve.trial]
    ends = sorted(order_of(end, mode) for end in best.interval or ())
    interval = (ends[0], ends[1]) if ends else None
    made = Recommendation(comparison.best_score, entry, order_of(best.score, mode), interval, best.trainings)
    if not others:
        return made
    runner_up = entries[others[0].curve.trial]
    winner, other = ([trial.panel for trial in comparison.trainings(each.trial)] for each in (entry, runner_up))
    look = look_again(winner, other, comparison.score.identity)
    return replace(made, runner_up=runner_up, second_look=look)


def _without_budget(comparison: Comparison, trained: TrainedCurves | None, why: str | None) -> Recommendation:
    """The recommendation without a common budget: the best of all scores, imported models included."""
    curves = () if trained is None else trained.curves
    entries, known = {each.trial.name: each for each in comparison.entries}, {each.trial for each in curves}
    scored = [
        TrainingCurve("", trial, trial, (CurvePoint(0.0, each.score.order, each.score.error or 0.0),))
        for trial, each in entries.items()
        if trial not in known
    ]
    made = _one_by_one(comparison, entries, standings([*scored, *curves], math.inf))
    return replace(made, trained=trained, no_budget=why)


def _flat(groups: Mapping[str, Sequence[TrainingCurve]]) -> list[TrainingCurve]:
    return [curve for curves in groups.values() for curve in curves]


def _known_budget(budget: Amount | None, judged: Sequence[TrainingCurve], overheads: Mapping[str, float]) -> float:
    """The budget, in the common range of all groups; by default the largest.  Raises ConfigError outside it."""
    common = common_budgets(judged, overheads)
    assert common is not None
    low, high = common
    if budget is None:
        return high
    if low * (1 - BUDGET_TOLERANCE) <= budget.value <= high * (1 + BUDGET_TOLERANCE):
        return min(max(budget.value, low), high)
    first, last = (Amount(budget.unit, value) for value in common)
    beyond, groups = budget.value > high, group_curves(judged)
    ends = {name: reach(curves)[beyond] + overheads.get(name, 0.0) for name, curves in groups.items()}
    spent = ", ".join(f"{name} {Amount(budget.unit, end)}" for name, end in ends.items())
    spent += " with their images" if overheads else ""
    if beyond:
        raise ConfigError(
            f"--budget: {budget} is more than all groups reached ({spent}); give at most {last}, or train longer: "
            "gensweep train --continue-from RUN --set training.images=N"
        )
    raise ConfigError(
        f"--budget: {budget} is less than the first scores needed ({spent}); give at least {first}, or run a sweep "
        "with earlier evaluations (evaluation.at)"
    )


def _no_common_budget(judged: Sequence[TrainingCurve], unit: Unit) -> str:
    """Why groups have no common budget, and the next step."""
    ends = {name: reach(curves) for name, curves in group_curves(judged).items()}
    late, short = max(ends, key=lambda name: ends[name][0]), min(ends, key=lambda name: ends[name][1])
    first, last = Amount(unit, ends[late][0]), Amount(unit, ends[short][1])
    return (
        f"in {unit} they have no budget in common: all of {late} have a score from {first} on, but {short} ended at "
        f"{last}; train {short} longer, or compare in another unit (--budget 60kimages, 10min, 2e13flops)"
    )
