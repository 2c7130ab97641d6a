"""Could the early scores be trusted?  How well each rung of a sweep ranked the final scores, measured in the sweep."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gensweep.results import order_of

if TYPE_CHECKING:
    from gensweep.verdict.comparison import RankedTrial

#: From fewer trials a correlation says nothing.
MIN_TRIALS = 4
#: Scores at shares of their trainings up to this factor apart are of one rung: a score comes after a whole batch.
NEAR = 1.1


@dataclass(frozen=True)
class Rung:
    """Scores after a share of the training, against those at its end.

    `images` is None where it differs between trials.  `correlation` is that of ranks, from -1 to 1; `winner` is the
    rank, from 1, that the final winner had.
    """

    sweep: str
    share: float
    images: int | None
    trials: int
    correlation: float
    winner: int


def rungs(sweep: str, entries: Iterable[RankedTrial]) -> list[Rung]:
    """The rungs of a sweep, from its ranked trials that were trained to the end: only these have a final score."""
    curves = []
    for entry in entries:
        if entry.trial.status == "finished" and not entry.trial.imported:
            history = sorted(entry.trial.curve.items())
            if history and history[-1][0] >= (entry.trial.length or 0):
                curves.append([(images, order_of(value, entry.score.mode)) for images, value in history])
    return rungs_of(sweep, curves)


def rungs_of(sweep: str, curves: Sequence[Sequence[tuple[int, float]]]) -> list[Rung]:
    """Each share of the training at which all trials were scored, but for the end.

    `curves` hold (images, score) of whole trainings, in order of images; smaller scores are better.
    A rung whose scores are all equal ranks nothing, and is left out.
    """
    if len(curves) < MIN_TRIALS:
        return []
    final = [points[-1][1] for points in curves]
    winner = final.index(min(final))
    found = []
    for images, of_winner in curves[winner][:-1]:
        share = images / curves[winner][-1][0]
        early = [point for points in curves if (point := _at(points, share)) is not None]
        scores = [score for _, score in early]
        if len(early) == len(curves) and not math.isnan(correlation := rank_correlation(scores, final)):
            same = all(seen == images for seen, _ in early)
            rank = 1 + sum(score < of_winner for score in scores)
            found.append(Rung(sweep, share, images if same else None, len(curves), correlation, rank))
    return found


def _at(points: Sequence[tuple[int, float]], share: float) -> tuple[int, float] | None:
    """The score of a trial after that share of its training, if it was scored there."""
    wanted = share * points[-1][0]
    near = [point for point in points[:-1] if wanted / NEAR <= point[0] <= wanted * NEAR]
    return min(near, key=lambda point: abs(point[0] - wanted), default=None)


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
