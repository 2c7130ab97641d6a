"""What the budget of a whole search pays for yet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gensweep.results import Unit
from gensweep.sweep.search_spending import spent_by
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from gensweep.sweep.schedulers import Scheduler

#: Of what a training takes: a budget that pays for ten pays for them whatever their sum is rounded to.
ROUNDING = 1e-6


class Step(NamedTuple):
    """What a trial trains before it may wait: a share of its training, with so many scorings."""

    share: float
    scorings: int


class BudgetLeft(NamedTuple):
    """What the budget of a search pays for yet, in its unit."""

    unit: Unit
    amount: float
    """Once all trials that train have come to their end; infinity where nothing bounds them."""
    whole: float
    """What a training takes from its beginning to its end, scoring included."""
    scoring: float
    """What it takes to score a trial once."""

    def cost(self, step: Step) -> float:
        """What a step takes, at most."""
        return min(self.whole, self.whole * step.share + self.scoring * step.scorings)

    def rest_of(self, trial: TrialState) -> float:
        """What a trial has not spent yet."""
        return max(0.0, self.whole - spent_by(trial, self.unit))

    def pays(self, cost: float) -> bool:
        """Whether that is left."""
        return self.times(cost) >= 1

    def times(self, cost: float) -> float:
        """How many times that is left; infinity if it costs nothing, as is taken of the first trials."""
        left = self.amount + ROUNDING * self.whole
        if left < cost:
            return 0
        return left // cost if cost else math.inf

    def without(self, cost: float) -> BudgetLeft:
        """What is left if that is kept back."""
        return self._replace(amount=self.amount - cost)


def budget_left(state: SweepState) -> BudgetLeft:
    """What is left of the search's budget.

    A trial is taken to be as dear as the dearest so far would be at its end, failed ones aside.  The first trials start
    without knowing, and an extension comes on top of what the budget pays for.
    """
    known, budget = state.spending, None if state.created is None else state.created.search_budget
    if budget is None:
        return BudgetLeft(known.unit, math.inf, 0.0, 0.0)
    whole = known.whole
    beyond = whole * state.beyond_budget if state.exhausted else 0.0
    left = BudgetLeft(known.unit, budget + beyond - known.amount, whole, known.scoring)
    return left.without(sum(left.rest_of(each) for each in known.training))


def trials_paid(state: SweepState, scheduler: Scheduler | None = None) -> float:
    """How many more trials what is left of the search's budget pays for; infinity if nothing bounds them.

    The scheduler says how far one trains before it may wait, and what those that wait will spend for certain.
    """
    left = budget_left(state)
    if state.exhausted or left.amount == math.inf:
        return math.inf
    if scheduler is None:
        return left.times(left.whole)
    held = ((state.trials[name], share) for name, share in scheduler.going_on().items())
    to_come = sum(left.rest_of(trial) * share for trial, share in held if trial.status == "paused")
    return left.without(to_come).times(left.cost(scheduler.first_step))
