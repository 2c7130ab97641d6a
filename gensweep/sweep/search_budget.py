"""What a whole search has spent, and whether its budget pays for another trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gensweep.results import Unit
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from gensweep.sweep.schedulers import Scheduler

#: Once a trial has gone a third of the way, those that have not say nothing of what another will spend: compiling and
#: the first scores come once.
MOST_EXTRAPOLATED = 3.0
#: Of what a training takes: a budget that pays for ten pays for them whatever their sum is rounded to.
ROUNDING = 1e-6


def spent_by(trial: TrialState, unit: Unit) -> float:
    """What a trial has spent on training and on scoring, as far as it has reported."""
    return trial.numbers.get(unit, 0.0) + trial.numbers.get(f"scoring_{unit}", 0.0)


def spent_by_search(state: SweepState) -> float:
    """What all trials of the search have spent, in the unit of its budget."""
    return sum(spent_by(trial, state.search_unit) for trial in state.searched)


class Step(NamedTuple):
    """What a trial trains before it may wait: a share of its training, with so many scorings."""

    share: float
    scorings: int


class BudgetLeft(NamedTuple):
    """What the budget of a search pays for yet, in its unit."""

    amount: float
    """Once all trials that train have come to their end; infinity where nothing bounds them."""
    whole: float
    """What a training takes from its beginning to its end, scoring included."""
    scoring: float
    """What it takes to score a trial once."""

    def cost(self, step: Step) -> float:
        """What a step takes, at most."""
        return min(self.whole, self.whole * step.share + self.scoring * step.scorings)

    def rest_of(self, trial: TrialState, unit: Unit) -> float:
        """What a trial has not spent yet."""
        return max(0.0, self.whole - spent_by(trial, unit))

    def pays(self, cost: float) -> bool:
        """Whether that is left."""
        return cost <= self.amount + ROUNDING * self.whole

    def without(self, cost: float) -> BudgetLeft:
        """What is left if that is kept back."""
        return self._replace(amount=self.amount - cost)


def budget_left(state: SweepState) -> BudgetLeft:
    """What is left of the search's budget.

    A trial is taken to be as dear as the dearest so far would be at its end, failed ones aside.  The first trials start
    without knowing, and an extension comes on top of what the budget pays for.
    """
    budget = None if state.created is None else state.created.search_budget
    if budget is None:
        return BudgetLeft(math.inf, 0.0, 0.0)
    unit, whole = state.search_unit, _dearest(state.searched, state.search_unit)
    scored = [each for each in state.searched if each.evaluations]
    scoring = max((each.numbers.get(f"scoring_{unit}", 0.0) / len(each.evaluations) for each in scored), default=0.0)
    beyond = whole * state.beyond_budget if state.exhausted else 0.0
    left = BudgetLeft(budget + beyond - spent_by_search(state), whole, scoring)
    training = (each for each in state.unfinished if each.status != "paused" and each.repeat_of is None)
    return left.without(sum(left.rest_of(each, unit) for each in training))


def pays_for_another(state: SweepState, scheduler: Scheduler | None = None) -> bool:
    """Whether what is left of the search's budget pays for one more trial.

    The scheduler says how far that one trains before it may wait, and what those that wait will spend for certain.
    """
    left, unit = budget_left(state), state.search_unit
    if state.exhausted or left.amount == math.inf:
        return True
    if scheduler is None:
        return left.pays(left.whole)
    to_come = sum(left.rest_of(each, unit) * scheduler.going_on(each.trial) for each in state.paused)
    return left.without(to_come).pays(left.cost(scheduler.first_step))


def _dearest(trials: Sequence[TrialState], unit: Unit) -> float:
    """What the dearest of some trials spends until its end, going by what it has spent so far."""
    begun = [trial for trial in trials if trial.status != "failed" and trial.images and trial.length]
    longer = {trial.trial: max(1.0, (trial.length or 0) / trial.images) for trial in begun}
    far = [trial for trial in begun if longer[trial.trial] <= MOST_EXTRAPOLATED]
    return max((spent_by(trial, unit) * longer[trial.trial] for trial in far or begun), default=0.0)
