"""How to spend a larger budget: which family, width, number of images, and the expected score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gensweep.errors import GensweepError, UntrustedError
from gensweep.extras.plan.allocation import Allocation, FamilyPlanner
from gensweep.extras.plan.backtest import (
    HIDDEN_FACTOR,
    LIMIT_TOLERANCE,
    MIN_CONFIGURATIONS,
    Backtest,
    backtest,
    configurations,
    longest,
)
from gensweep.extras.plan.forecast import INTERVAL_PART, FittedFamily
from gensweep.extras.plan.scored_trainings import ScoredTraining

#: A budget beyond so many times what the family spent that would be recommended is refused: the square of what the
#: backtest checks.
MAX_REACH = HIDDEN_FACTOR**2
#: Largest ratio of an interval's ends that is useful: scores rarely fall faster than compute grows.
MAX_SPAN = HIDDEN_FACTOR
#: Scores fall if their `score_trend` is at least this; pure scatter exceeds it in 2.5 % of families.
MIN_TREND = 1.96


@dataclass(frozen=True)
class SpendingPlan:
    """The answer: each family's best use of the budget, best first, and whether it can be trusted.

    `probability` is that of the first family to be the best.
    """

    allocations: tuple[Allocation, ...]
    probability: float
    backtest: Backtest
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        """True if there is a recommendation."""
        return not self.problems

    @property
    def best(self) -> Allocation:
        """The use with the best expected score."""
        return self.allocations[0]


def plan_spending(
    families: Mapping[str, Sequence[ScoredTraining]], budget: float, *, free_size: bool = False
) -> SpendingPlan:
    """Fit a law to each family, test it on the last part of the compute, and spend the budget.

    Raises UntrustedError if there are too few trainings for any law, GensweepError for a budget that was already spent.
    """
    enough = lawful_families(families)
    largest = longest(enough)
    if budget <= largest:
        raise GensweepError(
            f"the budget is not larger than the cost of a trial ({budget / largest:.3g} of it), so run: "
            "gensweep best --compare; or give a larger --budget"
        )
    tested = backtest(enough)
    planners = {name: FamilyPlanner(name, FittedFamily.of(family), free_size) for name, family in enough.items()}
    spent = (planner.allocate(budget).widened(tested.widening) for planner in planners.values())
    allocations = sorted(spent, key=lambda each: each.forecast.value)
    best = allocations[0]
    reach = budget / planners[best.group].largest
    remarks = [
        f"{name} is left out: {configurations(family)} trials with scores are too few for a law"
        for name, family in families.items()
        if name not in enough
    ]
    for name, family in enough.items():
        if name != best.group and (words := _format_level(name, family)):
            remarks.append(f"the score of {name} is overestimated: {words}")
    remarks += _remarks(planners[best.group], best, reach, tested.widening)
    problems = *tested.problems, *_problems(best, enough[best.group], reach)
    # All families are drawn with the same random numbers; in another order they are independent.
    mixed = [np.random.default_rng(index).permutation(each.draws) for index, each in enumerate(allocations)]
    probability = float(np.mean(np.argmin(mixed, axis=0) == 0))
    return SpendingPlan(tuple(allocations), probability, tested, problems, tuple(remarks))


def lawful_families(families: Mapping[str, Sequence[ScoredTraining]]) -> dict[str, tuple[ScoredTraining, ...]]:
    """Families with enough configurations for a law.  Raises UntrustedError if none has enough."""
    enough = {name: tuple(family) for name, family in families.items() if configurations(family) >= MIN_CONFIGURATIONS}
    if not enough:
        counts = ", ".join(f"{configurations(family)} of {name}" for name, family in families.items())
        raise UntrustedError(
            f"too few trials with scores to fit a law ({counts}; each family needs {MIN_CONFIGURATIONS}); add "
            "some: gensweep tune --extend SWEEP --trials 8"
        )
    return enough


def score_trend(trainings: Sequence[ScoredTraining]) -> float:
    """Trend of scores in the last factor of 4 of compute, a standard normal number if there is none.

    The best score so far always falls as evaluations accumulate, even if training changes nothing.

    Counts falling minus rising pairs of scores within each training.  A training with fewer than two scores in that
    range counts with its last two.  Source: seasonal Kendall test, Hirsch et al. 1982; seasons are trainings here.
    """
    begin = max(each.curve.spent for each in trainings) / (HIDDEN_FACTOR * LIMIT_TOLERANCE)
    balance, variance = 0, 0.0
    for training in trainings:
        points = training.curve.points
        if not points or points[-1].spent < begin:
            continue
        late = sum(point.spent >= begin for point in points)
        scores = [point.order for point in points[-max(late, 2) :]]
        for index, score in enumerate(scores):
            balance += sum((before > score) - (before < score) for before in scores[:index])
        variance += len(scores) * (len(scores) - 1) * (2 * len(scores) + 5) / 18
    if not variance:
        return 0.0
    return (balance - (balance > 0) + (balance < 0)) / math.sqrt(variance)


def _format_level(name: str, family: Sequence[ScoredTraining]) -> str | None:
    """A problem if the scores of a family do not fall; None if they do."""
    if score_trend(family) >= MIN_TREND:
        return None
    return (
        f"scores of {name} do not fall in the last factor of {HIDDEN_FACTOR:g} of compute by more than their scatter; "
        "the best score so far falls only because evaluations accumulate"
    )


def _problems(best: Allocation, family: Sequence[ScoredTraining], reach: float) -> Iterator[str]:
    width = best.members[0].width
    if words := _format_level(best.group, family):
        yield words
    elif score_trend([each for each in family if each.width == width]) <= -MIN_TREND:
        yield (
            f"scores of {best.group} at width {width}, its best trial's width, get worse in the last factor of "
            f"{HIDDEN_FACTOR:g} of compute"
        )
    if reach > MAX_REACH:
        yield (
            f"the budget is {reach:.0f} times what any trial of {best.group} has spent; laws are trusted up to "
            f"{MAX_REACH:.0f} times; run a sweep in between, and plan again"
        )
    if (span := best.forecast.high / best.forecast.low) > MAX_SPAN:
        yield f"the ends of the {100 * INTERVAL_PART:.0f} % interval are a factor of {span:.1f} apart"


def _remarks(planner: FamilyPlanner, best: Allocation, reach: float, widening: float) -> Iterator[str]:
    tried = {each.width for each in planner.fitted.trainings}
    if widening > 1:
        yield f"intervals are {widening:.2g} times as wide as the laws predict, as the backtest's were too narrow"
    if LIMIT_TOLERANCE * HIDDEN_FACTOR < reach <= MAX_REACH:
        yield (
            f"the backtest looked {HIDDEN_FACTOR:g} times ahead, the budget is {reach:.1f} times what any trial of "
            f"{best.group} has spent"
        )
    if best.width > max(tried):
        yield f"width {best.width} is wider than any that was tried ({max(tried)})"
    if misfits := planner.misfits(best.members[0].width):
        worst = max(misfits, key=misfits.__getitem__)
        yield (
            f"no width at or beyond {', '.join(map(str, misfits))} is proposed: trials of width {worst} score "
            f"{misfits[worst]:.1f} times as bad as the law predicts from width {best.members[0].width}"
        )
    if len(tried) == 1:
        yield f"only width {best.width} was tried, so other widths are unknown"
    if planner.fitted.seed_deviation is None:
        yield "each configuration was trained with one seed, so the interval lacks the variance between trainings"
