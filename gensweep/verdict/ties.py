"""Trials too close to the best one to call: differences of corrected scores, with their interval."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from gensweep.files import parse_json
from gensweep.results import Score, order_of

if TYPE_CHECKING:
    from gensweep.sweep.trial_state import TrialState
    from gensweep.verdict.comparison import RankedTrial

#: Largest number of trials to compare image by image.
MAX_PAIRED_TRIALS = 20
#: File of a checkpoint with each image's contribution to its scores.
ESTIMATES = "estimates.json"


@dataclass(frozen=True)
class Tie:
    """A trial whose corrected score differs from the best one's no more than by chance.

    `difference` is how much worse it is (below 0: better), with its 95 % `interval`, which contains 0.  If `paired`,
    the interval uses the correlation of both errors, as both models drew their images from the same noise.
    """

    trial: TrialState
    difference: float
    interval: tuple[float, float]
    paired: bool


def ties(entries: Sequence[RankedTrial]) -> tuple[Tie, ...]:
    """Trials, best first, that are too close to the first; none if the metric has no interval."""
    best, *others = entries
    if (first := _corrected_order(best.score)) is None:
        return ()
    of_best, found = None, []
    for index, entry in enumerate(others, 1):
        if (second := _corrected_order(entry.score)) is None:
            continue
        alike = None
        if index < MAX_PAIRED_TRIALS:
            of_best = of_best or _influences(best.trial, best.score.metric)
            alike = _correlation(of_best, _influences(entry.trial, best.score.metric))
        interval = difference_interval(second, first, alike or 0.0)
        if interval[0] <= 0:
            found.append(Tie(entry.trial, second.value - first.value, interval, alike is not None))
    return tuple(found)


def _influences(trial: TrialState, metric: str) -> list[float] | None:
    """Each image's contribution to the corrected score of a trial's best checkpoint; None without its file."""
    if (place := trial.checkpoint) is None:
        return None
    try:
        found = parse_json(Path(place, ESTIMATES).read_text())[metric]
        return [float(value) for value in found["influences"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class IntervalEstimate:
    """A value and the ends of its interval, which may be asymmetric."""

    value: float
    low: float
    high: float


def difference_interval(first: IntervalEstimate, second: IntervalEstimate, correlation: float) -> tuple[float, float]:
    """The interval of first - second at the level of the two intervals, given the correlation of their errors.

    With a = first - first.low and b = second.high - second, the lower end is sqrt(a^2 + b^2 - 2 r a b) below the
    difference.
    Source: Newcombe 1998, method 10; Zou & Donner 2008 (any two intervals, and correlation).
    """

    def reach(a: float, b: float) -> float:
        a, b = max(a, 0.0), max(b, 0.0)  # an estimate below 0 may be below its interval, which is never negative
        return sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0))

    difference = first.value - second.value
    return (
        difference - reach(first.value - first.low, second.high - second.value),
        difference + reach(first.high - first.value, second.value - second.low),
    )


def _corrected_order(score: Score) -> IntervalEstimate | None:
    """Corrected score with its interval, where smaller is better; None without one."""
    if score.corrected is None or score.interval is None:
        return None
    low, high = sorted(order_of(end, score.mode) for end in score.interval)
    return IntervalEstimate(order_of(score.corrected, score.mode), low, high)


def _correlation(first: Sequence[float] | None, second: Sequence[float] | None) -> float | None:
    """Correlation of the errors of two scores, from each image's contribution; None if unknown."""
    if not first or not second or len(first) != len(second) or len(first) < 2:
        return None
    try:
        return statistics.correlation(first, second)
    except statistics.StatisticsError:  # all contributions are equal
        return None
