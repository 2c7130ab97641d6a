"""Which trials are too close to the best one to call: differences of corrected scores, with their error."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import TYPE_CHECKING

from gensweep.results import STANDARD_ERRORS
from gensweep.tracking.artifacts import influences

if TYPE_CHECKING:
    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.tracking.records import TrialRecord

#: The best trials whose images are compared one by one, at most.
MAX_PAIRED_TRIALS = 20


@dataclass(frozen=True)
class Tie:
    """A trial whose corrected score differs from the best one's by no more than chance would have it.

    `difference` is how much worse it is (below 0: better), with its standard `error`.  It is `paired` if the error is
    that of the differences of images from the same noise, which are often alike, and not of two unrelated sets.
    """

    trial: TrialRecord
    difference: float
    error: float
    paired: bool

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the difference's 95 % interval, which holds 0."""
        return self.difference - STANDARD_ERRORS * self.error, self.difference + STANDARD_ERRORS * self.error


def ties(entries: Sequence[RankedTrial]) -> tuple[Tie, ...]:
    """Those of the trials, ranked best first by scores of one identity, that cannot be told from the first.

    None if the metric gives no interval.
    """
    best, *others = entries
    if best.score.error is None or best.score.corrected is None:
        return ()
    order, of_best = replace(best.score, value=best.score.corrected).order, None
    found = []
    for index, entry in enumerate(others, 1):
        score = entry.score
        if score.corrected is None or score.error is None:
            continue
        error, paired = hypot(best.score.error, score.error), False
        if index < MAX_PAIRED_TRIALS:
            of_best = of_best or influences(best.trial, score.metric)
            alike = _paired_error(of_best, influences(entry.trial, score.metric))
            error, paired = (error, False) if alike is None else (alike, True)
        tie = Tie(entry.trial, replace(score, value=score.corrected).order - order, error, paired)
        if tie.interval[0] <= 0:
            found.append(tie)
    return tuple(found)


def _paired_error(first: Sequence[float] | None, second: Sequence[float] | None) -> float | None:
    if not first or not second or len(first) != len(second) or len(first) < 2:
        return None
    return statistics.stdev(a - b for a, b in zip(first, second, strict=True)) / sqrt(len(first))
