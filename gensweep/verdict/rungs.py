"""How well each rung of a sweep ranked the final scores: could early stopping trust the early ones?"""

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

#: A correlation needs at least this number of trials.
MIN_TRIALS = 4
#: Scores whose shares of training differ by at most this factor belong to one rung: trainings use whole batches.
NEAR = 1.1


@dataclass(frozen=True)
class Rung:
    """Scores after a share of the training, compared with those at its end.

    `images` is None if it differs between trials.  `correlation` is of ranks, from -1 to 1; `winner` is the final
    winner's rank here, from 1.
    """

    sweep: str
    share: float
    images: int | None
    trials: int
    correlation: float
    winner: int


def rungs(sweep: str, entries: Iterable[RankedTrial]) -> list[Rung]:
    """Rungs of a sweep, from ranked trials that were trained to the end, as only these have a final score."""
    curves = []
    for entry in entries:
        if entry.trial.status == "finished" and not entry.trial.imported:
            history = sorted(entry.trial.curve.items())
            if history and history[-1][0] >= (entry.trial.length or 0):
                curves.append([(images, order_of(value, entry.score.mode)) for images, value in history])
    return rungs_of(sweep, curves)


def rungs_of(sweep: str, curves: Sequence[Sequence[tuple[int, float]]]) -> list[Rung]:
    """Each share of the training, before the end, at which all trials were scored.

    `curves` hold (images, score) of whole trainings, in order of images; smaller scores are better.
    Rungs where all scores are equal are left out.
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
    """Score of a trial after that share of its training; None without one."""
    wanted = share * points[-1][0]
    near = [point for point in points[:-1] if wanted / NEAR <= point[0] <= wanted * NEAR]
    return min(near, key=lambda point: abs(point[0] - wanted), default=None)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's coefficient, with mean ranks for equal values; NaN if all values of a side are equal."""
    try:
        return statistics.correlation(mean_ranks(first), mean_ranks(second))
    except statistics.StatisticsError:
        return math.nan


def mean_ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value, the lowest is 1; equal values get their mean rank.  Importing scipy.stats is slow."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2 for value in values]
