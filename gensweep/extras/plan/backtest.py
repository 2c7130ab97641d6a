"""Backtest of the law: hide the last part of the compute and predict it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gensweep.extras.plan.forecast import INTERVAL_PART, FittedFamily, ScoreForecast, forecast_of
from gensweep.extras.plan.scored_trainings import ScoredTraining, spaced

#: The backtest sees the largest compute divided by this; the rest is hidden.
HIDDEN_FACTOR = 4.0
#: Tolerance of that limit: trainings use whole batches, so they end near a quarter, not on it.
LIMIT_TOLERANCE = 1.05
#: Scored configurations of a family needed to fit a law with its five parameters.
MIN_CONFIGURATIONS = 5
#: Trainings with hidden scores that a backtest needs: of four, one that misses would already be a quarter.
MIN_HIDDEN_TRAININGS = 5
#: The same of each family.
MIN_HIDDEN_OF_FAMILY = 2
#: Less of the hidden scores than this in 80 % intervals is more than bad luck: one lawful sweep of 64 (docs/plan.md).
MIN_COVERAGE = 0.5
#: Largest regret of a good choice: how much worse the recommended training is than the best, relative to it.
MAX_REGRET = 0.2


@dataclass(frozen=True)
class HiddenScore:
    """A hidden score of a training, and its prediction."""

    trial: str
    spent: float
    score: float
    forecast: ScoreForecast

    @property
    def inside(self) -> bool:
        """True if the interval contains it."""
        return self.forecast.low <= self.score <= self.forecast.high

    @property
    def miss(self) -> float:
        """Distance from the expectation; 1 is the end of the interval on that side."""
        end = self.forecast.high if self.score > self.forecast.value else self.forecast.low
        return math.log(self.score / self.forecast.value) / math.log(end / self.forecast.value)


@dataclass(frozen=True)
class Backtest:
    """How well laws fitted to the first part of the compute predicted the last.

    `trainings` had hidden scores.  `coverage` is the mean share of these in 80 % intervals.  `regret` is how much worse
    the recommended training was than the best one, relative to it.  Both are None without predictions.  With `problems`
    the law is not trusted.
    """

    limit: float
    hidden: tuple[HiddenScore, ...]
    trainings: int
    coverage: float | None
    regret: float | None
    recommended: str | None
    problems: tuple[str, ...]

    @property
    def widening(self) -> float:
        """Factor, on logarithms, by which intervals must widen to contain the claimed share of scores."""
        misses = [each.miss for each in self.hidden]
        return max(1.0, float(np.quantile(misses, INTERVAL_PART, method="inverted_cdf"))) if misses else 1.0


def backtest(families: Mapping[str, Sequence[ScoredTraining]]) -> Backtest:
    """Hide, fit and predict the trainings of each family."""
    limit = LIMIT_TOLERANCE * longest(families) / HIDDEN_FACTOR
    problems, predicted = list[str](), list[tuple[list[HiddenScore], bool]]()
    for name, trainings in families.items():
        late = [each for each in trainings if each.curve.spent > limit]
        if len(late) < MIN_HIDDEN_OF_FAMILY:
            problems.append(
                f"{len(late)} trials of {name} reached the last factor of {HIDDEN_FACTOR:g} of compute, but checking "
                f"its law needs {MIN_HIDDEN_OF_FAMILY}"
            )
        early = [part for each in trainings if (part := each.within(limit)).curve.points]
        if configurations(early) < MIN_CONFIGURATIONS:
            problems.append(
                f"{configurations(early)} configurations of {name} have a score before the last factor of "
                f"{HIDDEN_FACTOR:g} of compute, but a law needs {MIN_CONFIGURATIONS}; evaluate more "
                "often (evaluation.at, evaluation.every)"
            )
            continue
        fitted = FittedFamily.of(early)
        predicted += [(_predicted(fitted, each, limit), each.curve.stopped_early) for each in late]
    held = [np.mean([each.inside for each in scores]) for scores, _ in predicted]
    coverage = float(np.mean(held)) if held else None
    whole = [scores[-1] for scores, stopped in predicted if not stopped] or [scores[-1] for scores, _ in predicted]
    chosen = min(whole, key=lambda end: end.forecast.value, default=None)
    regret = None if chosen is None else chosen.score / min(end.score for end in whole) - 1
    if not problems and len(held) < MIN_HIDDEN_TRAININGS:
        problems.append(
            f"{len(held)} trials reached the last factor of {HIDDEN_FACTOR:g} of compute, but checking a law "
            f"needs {MIN_HIDDEN_TRAININGS}"
        )
    if coverage is not None and coverage < MIN_COVERAGE:
        problems.append(
            f"{100 * INTERVAL_PART:.0f} % intervals contained only {100 * coverage:.0f} % of the hidden scores: these "
            "trainings do not follow the scaling law"
        )
    if chosen is not None and regret is not None and regret > MAX_REGRET:
        problems.append(
            f"the configuration with the best forecast ({chosen.trial}) scored {100 * regret:.0f} % worse than the "
            "best one"
        )
    hidden = tuple(each for scores, _ in predicted for each in scores)
    taken = None if chosen is None else chosen.trial
    return Backtest(limit, hidden, len(held), coverage, regret, taken, tuple(problems))


def configurations(trainings: Sequence[ScoredTraining]) -> int:
    """How many configurations were trained, whatever their seeds."""
    return len({each.curve.configuration for each in trainings})


def longest(families: Mapping[str, Sequence[ScoredTraining]]) -> float:
    """The most that a training of any family has spent."""
    return max(each.curve.spent for family in families.values() for each in family)


def _predicted(fitted: FittedFamily, training: ScoredTraining, limit: float) -> list[HiddenScore]:
    points = spaced([point for point in training.envelope if point.spent > limit])
    images = np.array([training.images(point.spent) for point in points])
    same = [index for index, each in enumerate(fitted.trainings) if each.curve.trial == training.curve.trial]
    # Another training of the same configuration is known, if this one is not.
    akin = [i for i, each in enumerate(fitted.trainings) if each.curve.configuration == training.curve.configuration]
    draws = fitted.draws(same or akin, training.flops_per_image, images, anew=not same)
    return [
        HiddenScore(training.curve.trial, point.spent, point.order, forecast_of(draws[:, column]))
        for column, point in enumerate(points)
    ]
