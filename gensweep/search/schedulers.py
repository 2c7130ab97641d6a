"""Schedulers: how far trials train.  Each is a pure function of the sweep's state, so a log can be replayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal, NamedTuple, TypeAlias

from gensweep.results import order_of
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

Verdict: TypeAlias = Literal["continue", "pause", "stop"]

#: Amounts that differ by this share are equal: they come from divisions of floating point numbers.
ROUNDING = 1e-9
#: An evaluation up to this share before a rung counts there, as people write 0.33 for a third.
RUNG_TOLERANCE = 0.1


class Clone(NamedTuple):
    """Continue a trial from the source's checkpoint, with these overrides."""

    source: TrialState
    images: int
    checkpoint: str
    params: Mapping[str, Any]


class Candidates(NamedTuple):
    """Paused trials that may resume."""

    promotable: list[TrialState]
    """To their next rungs, most trained first."""
    finalists: list[TrialState]
    """To their ends, once nothing else is left; best first."""


@dataclass(frozen=True)
class Scheduler:
    """`fifo`, and the base of the others: every trial trains to its end.

    `budget` is a full training and `grace` the first rung, both in the unit of the budget.
    """

    budget: float
    grace: float

    def verdict_on(self, trial: TrialState, state: SweepState) -> Verdict:
        """What a running trial does after its newest evaluation; the search's budget is checked by the caller."""
        return "continue"

    def candidates(self, state: SweepState, deciding: TrialState | None = None) -> Candidates:
        """Paused trials that may resume; `deciding` is a running trial that counts as paused."""
        return Candidates([], [])

    def unpromotable(self, state: SweepState) -> list[TrialState]:
        """Paused trials that can never resume."""
        return []

    def clones(self, state: SweepState) -> dict[str, Clone]:
        """Paused trials that continue from another trial's checkpoint, by name."""
        return {}

    def next_stop(self, trial: TrialState | None, state: SweepState) -> float:
        """Share of its training after which a trial may be paused next; None: a new trial."""
        return 1.0


class Scored(NamedTuple):
    """One evaluation: what the trial has spent, its score and its best score so far; lower is better."""

    spent: float
    order: float
    best: float


def scored(trial: TrialState, state: SweepState) -> Iterator[Scored]:
    """The evaluations of a trial, in order."""
    values, mode = trial.curve, state.mode
    for images, best in trial.rungs:
        yield Scored(state.spent(trial, images), order_of(values[images], mode), order_of(best, mode))


def at_rung(time: float) -> float:
    """A time in units of the first rung; a time that is a little short of a rung counts as the rung."""
    rung = round(time)
    return max(time, rung) if rung * (1 - RUNG_TOLERANCE) <= time else time


@dataclass(frozen=True)
class Median(Scheduler):
    """Median stopping rule.  Source: Golovin et al. 2017, "Google Vizier", section 3.2.1.

    Stops a trial whose best score is worse than the median of the running means of its family's other trials.
    """

    min_trials: int = 3

    def verdict_on(self, trial: TrialState, state: SweepState) -> Verdict:
        """Stop a trial that is worse than the median."""
        own = list(scored(trial, state))
        now = at_rung(own[-1].spent / self.grace)
        if now < 1 or own[-1].spent >= self.budget * (1 - ROUNDING):
            return "continue"
        means = []
        for other in state.searched:
            times = {at_rung(each.spent / self.grace): each.order for each in scored(other, state)}
            until = [order for time, order in times.items() if 1 <= time <= now * (1 + ROUNDING)]
            compares = other is not trial and other.family == trial.family
            if compares and until and max(times) * (1 + ROUNDING) >= now:
                means.append(fmean(until))
        return "stop" if len(means) >= self.min_trials and own[-1].best > median(means) else "continue"
