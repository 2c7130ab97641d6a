"""How to spend a larger budget: which family, how wide, for how many images, and what may be expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gensweep.compute.allocation import Allocation, FamilyPlanner
from gensweep.compute.backtest import (
    HIDDEN_FACTOR,
    LIMIT_TOLERANCE,
    MIN_CONFIGURATIONS,
    Backtest,
    backtest,
    configurations,
    longest,
)
from gensweep.compute.forecast import INTERVAL_PART, FittedFamily, ScoreForecast
from gensweep.compute.scaling_law import Array
from gensweep.compute.scored_trainings import FITTED_SPAN, ScoredTraining
from gensweep.compute.width_backtest import WidthBacktest, width_backtest
from gensweep.errors import GensweepError, UntrustedError

#: A budget beyond so many times what the family spent that would be recommended is refused: the square of what the
#: backtest checks.
MAX_REACH = HIDDEN_FACTOR**2
#: An interval whose ends are further apart plans nothing: scores hardly ever fall faster than compute grows.
MAX_SPAN = HIDDEN_FACTOR
#: Budgets at which a frontier is computed.
FRONTIER_BUDGETS = 25


@dataclass(frozen=True)
class FrontierForecast:
    """What a family is expected to reach with a budget, at the width that suits it best."""

    budget: float
    width: int
    forecast: ScoreForecast


@dataclass(frozen=True)
class SpendingPlan:
    """The answer: what each family could do with the budget, best first, and whether that can be believed.

    `probability` is that of the first family to be the best one.  `widths` are backtests on the largest width, by
    family, of those that have enough of them.
    """

    budget: float
    allocations: tuple[Allocation, ...]
    probability: float
    backtest: Backtest
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    planners: Mapping[str, FamilyPlanner]
    widths: Mapping[str, WidthBacktest]

    @property
    def trusted(self) -> bool:
        """Whether anything is recommended."""
        return not self.problems

    @property
    def best(self) -> Allocation:
        """What is expected to score best."""
        return self.allocations[0]

    @cached_property
    def frontier(self) -> dict[str, tuple[FrontierForecast, ...]]:
        """What each family reaches with budgets up to this one."""
        return {
            name: _frontier(planner, self.budget, self.backtest.widening) for name, planner in self.planners.items()
        }


def plan_spending(
    families: Mapping[str, Sequence[ScoredTraining]], budget: float, *, free_size: bool = False
) -> SpendingPlan:
    """Fit a law to each family, test it on the last part of the compute, and spend the budget.

    Raises UntrustedError if there are too few trainings for any law, GensweepError for a budget that was spent already.
    """
    enough = lawful_families(families)
    largest = longest(enough)
    if budget <= largest:
        raise GensweepError(
            f"the budget is not larger than what a trial has spent already ({budget / largest:.3g} of it); what it "
            "buys is known: gensweep best --compare; or give a larger --budget"
        )
    tested = backtest(enough)
    widths = {name: found for name, family in enough.items() if (found := width_backtest(name, family)) is not None}
    planners = {
        name: FamilyPlanner(name, FittedFamily.of(family), free_size, name not in widths or widths[name].trusted)
        for name, family in enough.items()
    }
    spent = (planner.allocate(budget).widened(tested.widening) for planner in planners.values())
    allocations = sorted(spent, key=lambda each: each.forecast.value)
    best = allocations[0]
    reach = budget / planners[best.group].largest
    remarks = [
        f"{name} is left out: {configurations(family)} trials with scores are too few for a law"
        for name, family in families.items()
        if name not in enough
    ]
    return SpendingPlan(
        budget,
        tuple(allocations),
        _probability_of_first([each.draws for each in allocations]),
        tested,
        (*tested.problems, *_problems(best, reach)),
        (*remarks, *_widening_remarks(tested), *_remarks(planners[best.group], best, reach)),
        planners,
        widths,
    )


def lawful_families(families: Mapping[str, Sequence[ScoredTraining]]) -> dict[str, tuple[ScoredTraining, ...]]:
    """The families that have enough configurations for a law.  Raises UntrustedError if none has."""
    enough = {name: tuple(family) for name, family in families.items() if configurations(family) >= MIN_CONFIGURATIONS}
    if not enough:
        counts = ", ".join(f"{configurations(family)} of {name}" for name, family in families.items())
        raise UntrustedError(
            f"too few trials with scores to fit a law ({counts}; {MIN_CONFIGURATIONS} of a family are needed); add "
            "some: gensweep tune --extend SWEEP --trials 8"
        )
    return enough


def _probability_of_first(draws: Sequence[Array]) -> float:
    """How often the first of several independent scores is the lowest."""
    # All families are drawn with the same random numbers; in another order they are independent.
    mixed = [np.random.default_rng(index).permutation(each) for index, each in enumerate(draws)]
    return float(np.mean(np.argmin(mixed, axis=0) == 0))


def _problems(best: Allocation, reach: float) -> list[str]:
    found = []
    if reach > MAX_REACH:
        found.append(
            f"the budget is {reach:.0f} times what any trial of {best.group} has spent; laws are trusted up to "
            f"{MAX_REACH:.0f} times: run a sweep in between, and plan again"
        )
    if (span := best.forecast.high / best.forecast.low) > MAX_SPAN:
        found.append(f"the ends of the {100 * INTERVAL_PART:.0f} % interval are a factor of {span:.1f} apart")
    return found


def _widening_remarks(tested: Backtest) -> list[str]:
    if tested.widening == 1:
        return []
    return [
        f"intervals are {tested.widening:.2g} times as wide as the laws say, as those of the backtest were too narrow"
    ]


def _remarks(planner: FamilyPlanner, best: Allocation, reach: float) -> list[str]:
    found, tried = [], {each.width for each in planner.fitted.trainings}
    if LIMIT_TOLERANCE * HIDDEN_FACTOR < reach <= MAX_REACH:
        found.append(
            f"the backtest looked {HIDDEN_FACTOR:g} times ahead, the budget is {reach:.1f} times what any trial of "
            f"{best.group} has spent"
        )
    if best.width > max(tried):
        found.append(f"width {best.width} is wider than any that was tried ({max(tried)})")
    if not planner.widens:
        found.append(
            f"no width beyond {max(tried)} is proposed, as a law of the narrower ones was wrong about that one"
        )
    if len(tried) == 1:
        found.append(f"only width {best.width} was tried, so nothing is known of others")
    if planner.fitted.seed_deviation is None:
        found.append(
            "each configuration was trained with one seed, so the interval lacks the variance between trainings"
        )
    return found


def _frontier(planner: FamilyPlanner, budget: float, widening: float) -> tuple[FrontierForecast, ...]:
    begin = min(each.curve.points[0].spent for each in planner.fitted.trainings)
    found = []
    for each in np.geomspace(max(begin, planner.largest / FITTED_SPAN), budget, FRONTIER_BUDGETS):
        spent = planner.allocate(float(each)).widened(widening)
        found.append(FrontierForecast(float(each), spent.width, spent.forecast))
    return tuple(found)
