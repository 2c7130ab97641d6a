"""Configurations at a budget, one by one: their scores, and the probability that each is the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats takes three times as long to import

from gensweep.compute.budget_scores import by_configuration
from gensweep.compute.curves import TrainingCurve
from gensweep.compute.expected_best import TAIL
from gensweep.compute.scale import Scale

#: Draws from which probabilities are counted: one near 0.95 is known to within 0.5 %.
DRAWS = 4000


@dataclass(frozen=True)
class Standing:
    """What a configuration scores at a budget: the mean of its `trainings`, with its standard error.

    `freedom` are the degrees of freedom of the variance between trainings that is in the error; 0 if it is not.
    """

    configuration: str
    score: float
    error: float
    trainings: int
    freedom: int
    curve: TrainingCurve
    """Its first training."""
    scale: Scale

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of its mean over seeds; None if nothing is known of other seeds."""
        if not self.freedom:
            return None
        score = np.array(self.score)
        reach = stdtrit(self.freedom, 1 - TAIL) * self.scale.relative(np.array(self.error), score)
        middle = self.scale.forward(score)
        return float(self.scale.back(middle - reach)), float(self.scale.back(middle + reach))


def standings(
    curves: Sequence[TrainingCurve], budget: float, overheads: Mapping[str, float] | None = None
) -> list[Standing]:
    """The configurations that have a score at the budget, the best first, but for trainings that failed.

    `overheads` are what each group pays of the budget beside its training.  The error is that of scores; where
    configurations were trained with several seeds, it holds the chance between trainings.
    """
    extra = overheads or {}
    points = [(curve, curve.best_within(budget - extra.get(curve.group, 0.0))) for curve in curves if not curve.failed]
    paid = [(curve, point) for curve, point in points if point is not None]
    if not paid:
        return []
    scores, errors = (np.array([[getattr(point, name)] for _, point in paid]) for name in ("order", "error"))
    scale = Scale.of(scores)
    found = by_configuration([curve for curve, _ in paid], scores, errors, scale)
    freedom = len(paid) - len(found.configurations)
    trained: dict[str, list[TrainingCurve]] = {}
    for curve, _ in paid:
        trained.setdefault(curve.configuration, []).append(curve)
    rows = []
    for name, mean, variance in zip(found.configurations, found.scores[0], found.variances[0], strict=True):
        mine = trained[name]
        rows.append(Standing(name, float(mean), float(variance) ** 0.5, len(mine), freedom, mine[0], scale))
    return sorted(rows, key=lambda row: row.score)


def chances_of_best(scores: Sequence[float], errors: Sequence[float], *, seed: int = 0) -> Float64[ndarray, " n"]:
    """The probability of each of a few trained models that it is the best, by the errors of their scores alone.

    It says nothing of the same settings trained again, unless the errors hold the chance between trainings.
    """
    noise = np.random.default_rng(seed).standard_normal((DRAWS, len(scores)))
    return shares_of_wins((np.asarray(scores) + noise * np.asarray(errors)).T)


def shares_of_wins(draws: Float64[ndarray, "n r"]) -> Float64[ndarray, " n"]:
    """In which share of the draws each is the smallest; those that are equal share the win."""
    smallest = draws == draws.min(0)
    return np.asarray((smallest / smallest.sum(0)).mean(1))
