"""Could the early scores be trusted?  How well each rung of a sweep ranked the final scores, measured in the sweep."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gensweep.report.wording import count
from gensweep.tracking.artifacts import metric_history

if TYPE_CHECKING:
    from gensweep.report.ranked_trials import RankedTrial

#: From fewer trials a correlation says nothing.
MIN_TRIALS = 4
#: Scores at shares of their trainings up to this factor apart are of one rung: a score comes after a whole batch.
NEAR = 1.1


@dataclass(frozen=True)
class Rung:
    """Scores after a share of the training, against those at its end, over `trials` trials.

    `images` is None where the budget pays for more images of one trial than of another.  `correlation` is that of
    their ranks, from -1 to 1; `winner` is the rank, from 1, that the final winner had.
    """

    sweep: str
    share: float
    images: int | None
    trials: int
    correlation: float
    winner: int

    @property
    def place(self) -> str:
        """Where on the way it is, in words."""
        return f"{100 * self.share:.3g} % of the training" if self.images is None else f"{count(self.images)} images"


def rungs(sweep: str, entries: Iterable[RankedTrial]) -> list[Rung]:
    """Those of a sweep, from the histories of its ranked trials in the store.

    Trials that were stopped early have no final score and tell nothing.
    """
    curves = []
    for entry in entries:
        if entry.trial.status == "finished" and not entry.trial.imported:
            history = metric_history(entry.trial, entry.score.metric)
            if history and history[-1][0] >= (entry.trial.length or 0):
                curves.append([(images, replace(entry.score, value=value).order) for images, value in history])
    return rungs_of(sweep, curves)


def rungs_of(sweep: str, curves: Sequence[Sequence[tuple[int, float]]]) -> list[Rung]:
    """Each share of the training at which all trials were scored, but for the end.

    `curves` hold (images, score) of trials that spent the whole budget, in order of images; smaller scores are better.
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
        correlation = rank_correlation(scores, final) if len(early) == len(curves) else math.nan
        if not math.isnan(correlation):
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


def rung_words(found: Sequence[Rung]) -> list[str]:
    """One line for each sweep: how far its first scores agreed with its last."""
    lines = []
    for name in dict.fromkeys(rung.sweep for rung in found):
        mine = [rung for rung in found if rung.sweep == name]
        agreement = ", ".join(f"{rung.correlation:.2f} at {rung.place}" for rung in mine)
        lines.append(
            f"{name}: early scores ranked the final ones with a correlation of {agreement}; "
            f"the winner was number {mine[0].winner} of {mine[0].trials} at the first rung"
        )
    return lines
