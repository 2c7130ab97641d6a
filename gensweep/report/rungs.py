"""Could the early scores be trusted?  How well each rung of a sweep ranked the final scores, measured in the sweep."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gensweep.report.wording import count
from gensweep.tracking.artifacts import metric_history

if TYPE_CHECKING:
    from gensweep.tracking.records import SweepRecord

__all__ = ["FEWEST", "Rung", "rank_correlation", "rung_words", "rungs", "rungs_of"]

#: From fewer trials a correlation says nothing.
FEWEST = 4


@dataclass(frozen=True)
class Rung:
    """Scores after so many training images, against those at the end of the budget, over `trials` trials.

    `correlation` is that of their ranks, from -1 to 1; `winner` is the place, from 1, that the final winner had.
    """

    sweep: str
    images: int
    trials: int
    correlation: float
    winner: int


def rungs(sweeps: Iterable[SweepRecord], mode: Literal["min", "max"]) -> list[Rung]:
    """Those of some sweeps, from the histories in the store."""
    found = []
    for sweep in sweeps:
        curves = {
            trial.trial: metric_history(trial, trial.objective.metric)
            for trial in sweep.trials
            if trial.status == "finished" and trial.objective is not None and not trial.imported
        }
        found += rungs_of(sweep.name, curves, mode)
    return found


def rungs_of(sweep: str, curves: Mapping[str, Sequence[tuple[int, float]]], mode: Literal["min", "max"]) -> list[Rung]:
    """Each number of images at which all trials that saw the whole budget were scored, but for the last.

    `curves` hold (images, score) by trial.  Trials that were stopped early have no final score and tell nothing.
    """
    ends = {name: max(points)[0] for name, points in curves.items() if points}
    budget = max(ends.values(), default=0)
    whole = {name: dict(curves[name]) for name, end in ends.items() if end == budget}
    if len(whole) < FEWEST:
        return []
    sign = 1.0 if mode == "min" else -1.0
    final = [sign * points[budget] for points in whole.values()]
    winner = final.index(min(final))
    shared = sorted(set.intersection(*(set(points) for points in whole.values())) - {budget})
    found = []
    for images in shared:
        early = [sign * points[images] for points in whole.values()]
        place = 1 + sum(value < early[winner] for value in early)
        found.append(Rung(sweep, images, len(whole), rank_correlation(early, final), place))
    return found


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's coefficient, with the mean of their ranks for equal values; NaN if all values of a side are equal."""
    try:
        return statistics.correlation(_ranks(first), _ranks(second))
    except statistics.StatisticsError:
        return math.nan


def rung_words(found: Sequence[Rung]) -> list[str]:
    """One line for each sweep: how far its first scores agreed with its last."""
    lines = []
    for name in dict.fromkeys(rung.sweep for rung in found):
        mine = [rung for rung in found if rung.sweep == name]
        told = ", ".join(f"{rung.correlation:.2f} at {count(rung.images)} images" for rung in mine)
        place = f"the winner was number {mine[0].winner} of {mine[0].trials} at the first rung"
        lines.append(f"{name}: early scores ranked the final ones with a correlation of {told}; {place}")
    return lines


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered)))}
    return [first[value] + (ordered.count(value) - 1) / 2 for value in values]
