"""Could the early scores be trusted?  How well each rung of a sweep ranked the final scores, measured in the sweep."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gensweep.report.wording import count
from gensweep.tracking.artifacts import metric_history

if TYPE_CHECKING:
    from gensweep.report.ranked_trials import RankedTrial

#: From fewer trials a correlation says nothing.
MIN_TRIALS = 4


@dataclass(frozen=True)
class Rung:
    """Scores after a number of training images, against those at the end of the budget, over `trials` trials.

    `correlation` is that of their ranks, from -1 to 1; `winner` is the rank, from 1, that the final winner had.
    """

    sweep: str
    images: int
    trials: int
    correlation: float
    winner: int


def rungs(sweep: str, entries: Iterable[RankedTrial]) -> list[Rung]:
    """Those of a sweep, from the histories of its ranked trials in the store."""
    curves = {}
    for entry in entries:
        if entry.trial.status == "finished" and not entry.trial.imported:
            history = metric_history(entry.trial, entry.score.metric)
            curves[entry.trial.trial] = [(images, replace(entry.score, value=value).order) for images, value in history]
    return rungs_of(sweep, curves)


def rungs_of(sweep: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> list[Rung]:
    """Each number of images at which all trials that saw the whole budget were scored, but for the last.

    `curves` hold (images, score) by trial; smaller scores are better.  Trials that were stopped early have no final
    score and tell nothing.
    """
    ends = {name: max(points)[0] for name, points in curves.items() if points}
    budget = max(ends.values(), default=0)
    whole = [dict(curves[name]) for name, end in ends.items() if end == budget]
    if len(whole) < MIN_TRIALS:
        return []
    final = [points[budget] for points in whole]
    winner = final.index(min(final))
    found = []
    for images in sorted(set.intersection(*map(set, whole)) - {budget}):
        early = [points[images] for points in whole]
        rank = 1 + sum(value < early[winner] for value in early)
        found.append(Rung(sweep, images, len(whole), rank_correlation(early, final), rank))
    return found


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's coefficient, with the mean of their ranks for equal values; NaN if all values of a side are equal."""
    try:
        return statistics.correlation(mean_ranks(first), mean_ranks(second))
    except statistics.StatisticsError:
        return math.nan


def mean_ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, the lowest is 1; equal values have the mean of theirs.  Importing scipy.stats is slow."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2 for value in values]


def rung_words(found: Sequence[Rung]) -> list[str]:
    """One line for each sweep: how far its first scores agreed with its last."""
    lines = []
    for name in dict.fromkeys(rung.sweep for rung in found):
        mine = [rung for rung in found if rung.sweep == name]
        agreement = ", ".join(f"{rung.correlation:.2f} at {count(rung.images)} images" for rung in mine)
        lines.append(
            f"{name}: early scores ranked the final ones with a correlation of {agreement}; "
            f"the winner was number {mine[0].winner} of {mine[0].trials} at the first rung"
        )
    return lines
