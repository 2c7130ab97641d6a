"""Asynchronous successive halving (ASHA) on compute: which trials stop before their budget is used up."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, TypeAlias

from gensweep.sweep import events
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Amounts that differ by this share are equal: they come from divisions of floating point numbers.
ROUNDING = 1e-9
#: A score that comes by this share too early for a rung counts there, as people write 0.33 for a third.
RUNG_TOLERANCE = 0.1

_Rung: TypeAlias = tuple[str, float]
"""The family whose trials are compared there, "" for all of them, and the amount."""


class Asha:
    """The rungs, and the scores with which trials came to them; `apply` takes the events in, in their order.

    The rungs are at grace, grace * reduction, ... below the budget, in its unit.  A trial that is not the first at a
    rung is compared once there, or shortly before, by its best score so far: it stops unless it is among the best
    1 / reduction that came there before it, or the best of its family: one may begin slowly and end well.  With
    `by_family` families are not compared with each other at all.
    Source: Li et al. 2020, as in Ray's AsyncHyperBandScheduler, which knows no families, and which counts later scores
    at rungs that a trial has passed by.
    """

    def __init__(self, budget: float, grace: float, reduction: int, *, by_family: bool = False) -> None:
        self._budget, self._reduction, self._by_family = budget, reduction, by_family
        self._rungs: list[float] = []
        while (amount := grace * reduction ** len(self._rungs)) < budget * (1 - ROUNDING):
            self._rungs.append(amount)
        self._reached: dict[str, float] = defaultdict(float)
        """The highest rung that a trial has come to."""
        self._scores: dict[_Rung, list[float]] = defaultdict(list)
        """In ascending order; larger ones are better."""
        self._best: dict[tuple[_Rung, str], float] = {}
        """Of a family at a rung."""
        self._stops: dict[str, bool] = {}
        """By trial, what follows from the rung that it came to last."""

    def apply(self, event: events.Event, state: SweepState) -> None:
        """Take in the next event, with the state that follows from it."""
        if not isinstance(event, events.Evaluated) or state.metric not in event.evaluation.scores:
            return
        trial = state.trials.get(event.trial)
        if trial is not None and trial.repeat_of is None:
            self._take(trial, state)

    def wants(self, name: str) -> Literal["go on", "stop"]:
        """What is to become of a trial after the rung that it came to last."""
        return "stop" if self._stops.get(name) else "go on"

    def _take(self, trial: TrialState, state: SweepState) -> None:
        """Count a trial's newest score at the highest rung below it, unless the trial has come to that before."""
        images, value = trial.rungs[-1]
        spent = state.spent(trial, images)
        rung = max((each for each in self._rungs if each * (1 - RUNG_TOLERANCE) <= spent), default=0.0)
        if rung <= self._reached[trial.trial] or spent >= self._budget * (1 - ROUNDING):
            return
        self._reached[trial.trial] = rung
        at, score = (trial.family if self._by_family else "", rung), value if state.mode == "max" else -value
        others, best = self._scores[at], self._best.get((at, trial.family))
        self._stops[trial.trial] = (
            best is not None and score < best and score < _quantile(others, 1 - 1 / self._reduction)
        )
        insort(others, score)
        self._best[at, trial.family] = score if best is None else max(best, score)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """That of numbers in ascending order, linearly between two of them."""
    position = share * (len(ordered) - 1)
    below = int(position)
    return ordered[below] + (position - below) * (ordered[min(below + 1, len(ordered) - 1)] - ordered[below])
