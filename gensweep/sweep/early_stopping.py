"""Asynchronous successive halving (ASHA) on compute: which trials stop before their budget is used up."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, NamedTuple

import numpy as np

from gensweep.sweep import events
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Amounts that differ by this share are equal: they come from divisions of floating point numbers.
ROUNDING = 1e-9
#: A score that comes by this share too early for a rung counts there, as people write 0.33 for a third.
RUNG_TOLERANCE = 0.1


class _Comparison(NamedTuple):
    """A trial's score at a rung of a group: the last of these, of which the others had come there before."""

    at: tuple[str, float]
    scores: int


class Asha:
    """The rungs, and the scores with which trials came to them; `apply` takes the events in, in their order.

    The rungs are at grace, grace * reduction, ... below the budget, in its unit.  A trial that is not the first at a
    rung is compared once there, or shortly before, by its best score so far: it stops unless it is among the best
    1 / reduction that came there before it, or the best of its family: one may begin slowly and end well.  With
    `by_family` families are not compared with each other at all.
    Source: Li et al. 2020, as in Ray's AsyncHyperBandScheduler, which knows no families.
    """

    def __init__(self, budget: float, grace: float, reduction: int, *, by_family: bool = False) -> None:
        self._budget, self._reduction, self._by_family = budget, reduction, by_family
        self._rungs: list[float] = []
        while (amount := grace * reduction ** len(self._rungs)) < budget * (1 - ROUNDING):
            self._rungs.append(amount)
        self._reached: dict[str, set[float]] = defaultdict(set)
        self._scores: dict[tuple[str, float], list[tuple[str, float]]] = defaultdict(list)
        self._last: dict[str, _Comparison] = {}

    def apply(self, event: events.Event, state: SweepState) -> None:
        """Take in the next event, with the state that follows from it."""
        if not isinstance(event, events.Evaluated) or state.metric not in event.evaluation.scores:
            return
        trial = state.trials.get(event.trial)
        if trial is not None and trial.repeat_of is None:
            self._take(trial, state)

    def wants(self, name: str) -> Literal["go on", "stop"]:
        """What is to become of a trial after the rung that it came to last.

        It is computed when it is asked for: of thousands of trials in a log only those that have not ended matter.
        """
        if (last := self._last.get(name)) is None:
            return "go on"
        *others, (family, newest) = self._scores[last.at][: last.scores]
        if all(newest >= score for each, score in others if each == family):
            return "go on"
        least = np.percentile([score for _, score in others], (1 - 1 / self._reduction) * 100)
        return "stop" if newest < least else "go on"

    def _take(self, trial: TrialState, state: SweepState) -> None:
        """Count a trial's newest score at the highest rung below it that the trial has not come to, if any."""
        images, value = trial.rungs[-1]
        spent, reached = state.spent(trial, images), self._reached[trial.trial]
        free = [rung for rung in self._rungs if rung * (1 - RUNG_TOLERANCE) <= spent and rung not in reached]
        if not free or spent >= self._budget * (1 - ROUNDING):
            return
        reached.add(free[-1])
        at = trial.family if self._by_family else "", free[-1]
        self._scores[at].append((trial.family, value if state.mode == "max" else -value))
        self._last[trial.trial] = _Comparison(at, len(self._scores[at]))
