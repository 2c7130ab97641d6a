"""Decisions of a search, as pure functions of the sweep's state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from gensweep.config.search_methods import AshaSettings, MedianStopping, PopulationBasedTraining
from gensweep.search.asha import Asha
from gensweep.search.pbt import Pbt
from gensweep.search.schedulers import Median, Scheduler, Verdict
from gensweep.search.sweep_plan import SweepPlan
from gensweep.sweep.spending import SearchSpending, spent_by
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Consecutive trials that failed or broke a limit, after which no trial is sampled until a running one ends well.
MAX_FAILURES_IN_A_ROW = 100
#: A budget for ten trainings pays for ten, whatever rounding makes of their sum; in parts of a training.
BUDGET_ROUNDING = 1e-6


class Decision(NamedTuple):
    """Sample a configuration, resume a trial, wait until another one pauses or ends, or stop: nothing is left."""

    action: Literal["sample", "resume", "wait", "stop"]
    trial: str = ""


class Paid(NamedTuple):
    """What may start now: paused trials to their next rungs, paused trials to their ends, and new trials."""

    promotable: list[TrialState]
    finalists: list[TrialState]
    samples: int


@dataclass(frozen=True)
class BudgetLeft:
    """The rest of `search.budget` once all running trials have trained to their ends."""

    amount: float
    """Infinity without a budget."""
    spending: SearchSpending

    def rest_of(self, trial: TrialState) -> float:
        """Cost of training a trial to its end."""
        return max(0.0, self.spending.whole - spent_by(trial, self.spending.unit))

    def cost(self, share: float) -> float:
        """Cost of this share of a training and one evaluation; the evaluations of a whole training are part of it."""
        return min(self.spending.whole, self.spending.whole * share + self.spending.scoring)

    def pays(self, cost: float) -> bool:
        """True if this cost is left."""
        return self.times(cost) >= 1

    def times(self, cost: float) -> float:
        """How many times this cost is left; infinity if the cost is 0, which means unknown."""
        left = self.amount + BUDGET_ROUNDING * self.spending.whole
        if left < cost:
            return 0
        return left // cost if cost else math.inf

    def without(self, trials: Iterable[TrialState]) -> BudgetLeft:
        """The rest once these trials have trained to their ends, too."""
        return replace(self, amount=self.amount - sum(map(self.rest_of, trials)))


def budget_left(state: SweepState, *, but: TrialState | None = None) -> BudgetLeft:
    """The rest of the budget; `but` is a running trial that may still be paused here.

    Every training is assumed to cost as much as the most expensive one.  The trials of an extension come on top.
    """
    spending, budget = state.spending, None if state.created is None else state.created.search_budget
    if budget is None:
        return BudgetLeft(math.inf, spending)
    beyond = spending.whole * state.beyond_budget if state.exhausted else 0.0
    running = [trial for trial in state.training if trial is not but]
    return BudgetLeft(budget + beyond - spending.amount, spending).without(running)


@dataclass(frozen=True)
class Search:
    """A scheduler within `search.budget`."""

    scheduler: Scheduler

    def next(self, state: SweepState, held: Set[str] = frozenset()) -> Decision:
        """What to train next; trials that are `held` by workers cannot resume yet."""
        paid = self._paid(state)
        if able := [trial for trial in paid.promotable if trial.trial not in held]:
            return Decision("resume", able[0].trial)
        if paid.samples:
            return Decision("sample")
        if able := [trial for trial in paid.finalists if trial.trial not in held]:
            return Decision("resume", able[0].trial)
        waits = state.training or any(trial.trial in held for trial in state.paused)
        return Decision("wait" if waits else "stop")

    def verdict_on(self, trial: TrialState, state: SweepState) -> Verdict:
        """What a running trial does after its newest evaluation.  A trial that would resume at once continues."""
        verdict = "continue" if trial.repeat_of is not None else self.scheduler.verdict_on(trial, state)
        if verdict != "pause":
            return verdict
        paid = self._paid(state, trial)
        is_last = len(state.searched) >= state.wanted and trial in paid.finalists
        return "continue" if is_last or trial in paid.promotable else "pause"

    def to_stop(self, state: SweepState) -> list[TrialState]:
        """Paused trials that will not resume: all of them once the search is over."""
        if len(state.searched) >= state.wanted and self.next(state).action == "stop":
            return [trial for trial in state.paused if trial.repeat_of is None]
        return self.scheduler.unpromotable(state)

    def runnable(self, state: SweepState) -> int:
        """How many trials could start now, if there were workers for all."""
        paid = self._paid(state)
        return len(paid.promotable) + (paid.samples or sum(each not in paid.promotable for each in paid.finalists))

    def _paid(self, state: SweepState, deciding: TrialState | None = None) -> Paid:
        """What the budget pays for: finalists first, then each promotion, then samples.

        The first full training of a search does not depend on the budget.
        """
        left, found = budget_left(state, but=deciding), self.scheduler.candidates(state, deciding)
        finished = any(trial.status == "finished" for trial in state.searched)
        is_first = not finished and all(trial is deciding for trial in state.training)
        finalists = list[TrialState]()
        for trial in found.finalists:
            if left.pays(left.rest_of(trial)) or (is_first and not finalists):
                finalists.append(trial)
                left = left.without([trial])

        def step(trial: TrialState | None) -> float:
            spent = 0.0 if trial is None else state.spent(trial, trial.images) / self.scheduler.budget
            return left.cost(max(0.0, self.scheduler.next_stop(trial, state) - spent))

        limited = left.amount < math.inf
        promotable = [each for each in found.promotable if not limited or each in finalists or left.pays(step(each))]
        samples = 0 if too_many_failures(state) else max(0, state.wanted - len(state.searched))
        if limited and samples and not state.exhausted:
            samples = int(min(samples, left.times(step(None))))
        return Paid(promotable, finalists, samples)


def make_search(plan: SweepPlan) -> Search:
    """The search of a sweep."""
    sizes = {"budget": plan.budget, "grace": plan.grace}
    match plan.search.scheduler:
        case AshaSettings() as asha:
            return Search(Asha(**sizes, reduction=asha.reduction, by_family=asha.by_family, brackets=asha.brackets))
        case MedianStopping(min_trials=least):
            return Search(Median(**sizes, min_trials=least))
        case PopulationBasedTraining() as pbt:
            explores = Pbt(
                plan.budget, plan.grace, plan.nodes, pbt.quantile, pbt.resample, pbt.factors, plan.search.seed
            )
            return Search(explores)
    return Search(Scheduler(**sizes))


def too_many_failures(state: SweepState) -> bool:
    """True if no more trials are sampled because too many consecutive ones failed or broke a limit."""
    all_infeasible = state.infeasible_in_a_row >= min(MAX_FAILURES_IN_A_ROW, state.wanted)
    return all_infeasible or state.failures_in_a_row >= MAX_FAILURES_IN_A_ROW


def format_failures(state: SweepState) -> str:
    """Why no more trials are sampled."""
    last = max(reversed(state.searched), key=lambda trial: trial.ended_at or 0)
    count = max(state.failures_in_a_row, state.infeasible_in_a_row)
    what, limits = ("failed or break a limit", " or other constraints") if state.constraints else ("failed", "")
    return (
        f"{count} consecutive trials {what} (the last one, {last.trial}: {last.error}); fix that, or start a sweep "
        f"with another space{limits}"
    )


def format_infrastructure_errors(state: SweepState) -> str:
    """Why a sweep stops whose trials fail because of storage, data or lost processes."""
    last = max(state.failed, key=lambda trial: trial.ended_at or 0)
    return (
        f"{state.infrastructure_errors_in_a_row} consecutive trials failed because of infrastructure errors (the last "
        f"one, {last.trial}: {last.error}); fix that, then resume"
    )
