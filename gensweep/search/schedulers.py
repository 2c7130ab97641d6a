"""Schedulers: which trials train, and how far: pure functions of the sweep's state, so a log can be replayed."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal, NamedTuple, TypeAlias

from gensweep.config.search_methods import MedianStopping
from gensweep.results import order_of
from gensweep.sweep.spending import SearchSpending, spent_by
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

Verdict: TypeAlias = Literal["continue", "pause", "stop"]
Decision: TypeAlias = TrialState | Literal["sample", "wait", "stop"]
"""Resume a trial, sample a configuration, wait until a trial pauses or ends, or stop: nothing is left."""

Limit: TypeAlias = tuple[SearchSpending, float, float]
"""The spending, and the rest of a budget or of the time in its unit: for all trials together, and for one of them."""

#: Relative difference below which amounts are equal, because of rounding.
ROUNDING = 1e-9
#: An evaluation up to this share before a rung counts there, as users write 0.33 for a third.
RUNG_TOLERANCE = 0.1
#: Consecutive failures or broken limits after which sampling waits until a running trial ends well.
MAX_FAILURES_IN_A_ROW = 100
#: Tolerance for rounding in sums of costs, as a share of a training.
BUDGET_ROUNDING = 1e-6


class Startable(NamedTuple):
    """What may start now."""

    promotable: list[TrialState]
    """Paused trials that resume to their next rungs, most trained first."""
    finalists: list[TrialState]
    """Paused trials that train to the end once nothing else is left; best first."""
    samples: int = 0
    """New trials."""

    @property
    def total(self) -> int:
        """Number of trials that could start now with enough workers."""
        return len(self.promotable) + (self.samples or sum(each not in self.promotable for each in self.finalists))


@dataclass(frozen=True)
class Scheduler:
    """`fifo`, and the base of the others: every trial trains to its end, within `search.budget` and the deadline.

    `budget` is a full training and `grace` the first rung, both in the unit of the budget; `repeats` is the number of
    trainings with other seeds after the search.
    """

    budget: float
    grace: float
    repeats: int

    # -- rules, regardless of the search's budget -------------------------------------------------------------------

    def rule(self, trial: TrialState, state: SweepState) -> Verdict:
        """Decision for a trial after its newest evaluation."""
        return "continue"

    def candidates(self, state: SweepState, deciding: TrialState | None = None) -> Startable:
        """Paused trials that may resume; `deciding` is a running trial that counts as paused."""
        return Startable([], [])

    def unpromotable(self, state: SweepState) -> list[TrialState]:
        """Paused trials that can never resume."""
        return []

    def next_stop(self, trial: TrialState | None, state: SweepState) -> float:
        """Share of its training after which a trial may be paused next; None: a new trial."""
        return 1.0

    # -- decisions -------------------------------------------------------------------------------------------------

    def next(self, state: SweepState, held: Set[str] = frozenset(), startable: Startable | None = None) -> Decision:
        """The trials to train next; `held` trials still have workers and cannot resume yet."""
        promotable, finalists, samples = startable or self.startable(state)
        if able := [trial for trial in promotable if trial.trial not in held]:
            return able[0]
        if samples:
            return "sample"
        if able := [trial for trial in finalists if trial.trial not in held]:
            return able[0]
        waits = state.training or any(trial.trial in held for trial in state.paused)
        return "wait" if waits else "stop"

    def verdict_on(self, trial: TrialState, state: SweepState) -> Verdict:
        """Decision for a running trial after its newest evaluation.  A trial that would resume at once continues."""
        if (verdict := self.rule(trial, state)) != "pause":
            return verdict
        able = self.startable(state, trial)
        is_last = len(state.searched) >= state.wanted and trial in able.finalists
        return "continue" if is_last or trial in able.promotable else "pause"

    def to_stop(self, state: SweepState) -> list[TrialState]:
        """Paused trials that will not resume; all of them once the search is over."""
        if len(state.searched) >= state.wanted and self.next(state) == "stop":
            return state.paused
        return self.unpromotable(state)

    def startable(self, state: SweepState, deciding: TrialState | None = None) -> Startable:
        """The candidates that fit `search.budget` and the deadline."""
        samples = 0 if too_many_failures(state) else max(0, state.wanted - len(state.searched))
        found = self.candidates(state, deciding)._replace(samples=samples)
        for limit in (_budget_left(state, deciding), self._time_left(state, deciding)):
            found = found if limit is None else self._within(limit, found, state, deciding)
        return found

    def _time_left(self, state: SweepState, deciding: TrialState | None) -> Limit | None:
        """The time until the deadline: a mean training must fit, and repeats come last."""
        if (seconds := state.seconds_left) == math.inf:
            return None
        spending, session = state.mean_seconds, state.sessions[-1]
        concurrent = session.concurrent if state.scaled is None else state.scaled.concurrent
        running = sum(_rest_of(trial, spending) for trial in state.training if trial is not deciding)
        left = seconds * session.workers * concurrent - running - self.repeats * spending.whole
        return spending, left, min(left, seconds * session.workers)

    def _within(self, limit: Limit, found: Startable, state: SweepState, deciding: TrialState | None) -> Startable:
        """The candidates within a limit: finalists first, then promotions, then samples.

        The first full training of a search does not depend on the budget.
        """
        spending, left, longest = limit
        finished = any(trial.status == "finished" for trial in state.searched)
        is_first = longest == math.inf and not finished and all(trial is deciding for trial in state.training)
        finalists = list[TrialState]()
        for trial in found.finalists:
            rest = _rest_of(trial, spending)
            if min(left, longest) >= rest or (is_first and not finalists):
                finalists.append(trial)
                left -= rest

        def step(trial: TrialState | None) -> float:
            """Cost until a trial may pause, with one evaluation; a complete training includes all evaluations."""
            spent = 0.0 if trial is None else state.spent(trial, trial.images) / self.budget
            share = max(0.0, self.next_stop(trial, state) - spent)
            return min(spending.whole, spending.whole * share + spending.scoring)

        promotable = [each for each in found.promotable if each in finalists or min(left, longest) >= step(each)]
        samples = found.samples
        if samples and (longest < math.inf or not state.exhausted):
            cost = step(None)  # 0 while the cost is unknown
            paid = left // cost if cost else math.inf
            samples = int(min(samples, paid)) if min(left, longest) >= cost else 0
        return Startable(promotable, finalists, samples)


def _rest_of(trial: TrialState, spending: SearchSpending) -> float:
    """Cost of training a trial to its end, with the cost of the most expensive training."""
    return max(0.0, spending.whole - spent_by(trial, spending.unit))


def _budget_left(state: SweepState, deciding: TrialState | None) -> Limit | None:
    """The budget left once all running trials have trained to their ends; None without a budget.

    `deciding` is a running trial that may still pause here.  Trials of an extension are free.
    """
    budget = None if state.created is None else state.created.search_budget
    if budget is None:
        return None
    spending = state.spending
    beyond = state.beyond_budget if state.exhausted else 0
    running = sum(_rest_of(trial, spending) for trial in state.training if trial is not deciding)
    left = budget + (beyond + BUDGET_ROUNDING) * spending.whole - spending.amount - running
    return spending, left, math.inf


def too_many_failures(state: SweepState) -> bool:
    """True if no more trials are sampled because too many consecutive ones failed or broke a limit."""
    all_infeasible = state.infeasible_in_a_row >= min(MAX_FAILURES_IN_A_ROW, state.wanted)
    return all_infeasible or state.failures_in_a_row >= MAX_FAILURES_IN_A_ROW


def scored(trial: TrialState, state: SweepState) -> list[tuple[float, float]]:
    """Spending and score of a trial at each evaluation; lower scores are better."""
    return [(state.spent(trial, images), order_of(value, state.mode)) for images, value in trial.curve.items()]


def at_rung(time: float) -> float:
    """A time in units of the first rung, rounded up to a rung if it is just below."""
    rung = round(time)
    return max(time, rung) if rung * (1 - RUNG_TOLERANCE) <= time else time


@dataclass(frozen=True)
class Median(Scheduler):
    """Median stopping rule.  Source: Golovin et al. 2017, "Google Vizier", section 3.2.1.

    Stops a trial whose best score is worse than the median of the running means of its family's other trials.
    """

    settings: MedianStopping

    def rule(self, trial: TrialState, state: SweepState) -> Verdict:
        """Stop a trial that is worse than the median."""
        spent = state.spent(trial, trial.rungs[-1][0])
        now = at_rung(spent / self.grace)
        if now < 1 or spent >= self.budget * (1 - ROUNDING):
            return "continue"
        means = []
        for other in state.searched:
            times = {at_rung(spent / self.grace): order for spent, order in scored(other, state)}
            until = [order for time, order in times.items() if 1 <= time <= now * (1 + ROUNDING)]
            compares = other is not trial and other.family == trial.family
            if compares and until and max(times) * (1 + ROUNDING) >= now:
                means.append(fmean(until))
        best = order_of(trial.rungs[-1][1], state.mode)
        return "stop" if len(means) >= self.settings.min_trials and best > median(means) else "continue"
