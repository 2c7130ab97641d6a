"""Which trials are too close to the best one to call: differences of corrected scores, with their interval."""

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

#: The best trials whose images are compared one by one, at most.
MAX_PAIRED_TRIALS = 20
#: The file of a checkpoint with what each image adds to its scores.
ESTIMATES = "estimates.json"


@dataclass(frozen=True)
class Tie:
    """A trial whose corrected score differs from the best one's by no more than chance would have it.

    `difference` is how much worse it is (below 0: better), with its 95 % `interval`, which holds 0.  If `paired`, that
    counts how alike the errors of both are, as their images come from the same noise.
    """

    trial: TrialState
    difference: float
    interval: tuple[float, float]
    paired: bool


def ties(entries: Sequence[RankedTrial]) -> tuple[Tie, ...]:
    """The trials, ranked best first, that cannot be told from the first; none if the metric gives no interval."""
    best, *others = entries
    if (first := _corrected_order(best.score)) is None:
        return ()
    of_best, found = None, []
    for index, entry in enumerate(others, 1):
        if (second := _corrected_order(entry.score)) is None or _is_same_result(best, entry):
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
    """What each image adds to the corrected score of a trial's best checkpoint; None if its file is not here."""
    if (place := trial.checkpoint) is None:
        return None
    try:
        found = parse_json(Path(place, ESTIMATES).read_text())[metric]
        return [float(value) for value in found["influences"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_same_result(one: RankedTrial, other: RankedTrial) -> bool:
    """True if both have one best checkpoint, as a clone and its source may."""
    first, second = ((each.trial.sweep, each.trial.best_of or each.trial.trial) for each in (one, other))
    return first == second and one.score == other.score


@dataclass(frozen=True)
class IntervalEstimate:
    """A value, and the ends of its interval, which need not be as far away on either side."""

    value: float
    low: float
    high: float


def difference_interval(first: IntervalEstimate, second: IntervalEstimate, correlation: float) -> tuple[float, float]:
    """The interval of first - second at the level of theirs, whose errors have a correlation.

    Each end lies as far out as those ends of both that make the difference extreme: with a = first - first.low and
    b = second.high - second, the lower one is sqrt(a^2 + b^2 - 2 r a b) below the difference.
    Source: Newcombe 1998, method 10; Zou & Donner 2008 (any two intervals, and correlation).
    """

    def reach(a: float, b: float) -> float:
        a, b = max(a, 0.0), max(b, 0.0)  # an estimate below 0 may lie below its interval, which holds distances
        return sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0))

    difference = first.value - second.value
    return (
        difference - reach(first.value - first.low, second.high - second.value),
        difference + reach(first.high - first.value, second.value - second.low),
    )


def _corrected_order(score: Score) -> IntervalEstimate | None:
    """The corrected score with its interval, such that smaller is better; None where there is none."""
    if score.corrected is None or score.interval is None:
        return None
    low, high = sorted(order_of(end, score.mode) for end in score.interval)
    return IntervalEstimate(order_of(score.corrected, score.mode), low, high)


def _correlation(first: Sequence[float] | None, second: Sequence[float] | None) -> float | None:
    """How alike the errors of two scores are, from what each image adds to both; None where that is not known."""
    if not first or not second or len(first) != len(second) or len(first) < 2:
        return None
    try:
        return statistics.correlation(first, second)
    except statistics.StatisticsError:  # all images add the same
        return None
