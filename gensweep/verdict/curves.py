"""Curves of trainings: scores against what each had spent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

#: A score that took this share more than a budget is within it: trainings end with whole batches, and seconds are
#: measured.
BUDGET_TOLERANCE = 0.02


@dataclass(frozen=True)
class CurvePoint:
    """A score after some compute; a smaller `order` is better, and `error` is its standard error, 0 if unknown."""

    spent: float
    order: float
    error: float = 0.0


@dataclass(frozen=True)
class FrontierPoint:
    """What a budget buys: the expected `best` order, and the ends of its 95 % interval where there is one."""

    budget: float
    best: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TrainingCurve:
    """The scores of one training, by what it had spent in the unit of the budget, in ascending order.

    Trainings of one `configuration` differ only in their `seed`.  One that was `stopped_early` by the scheduler might
    have become better; what it would have scored later is not known.  One that `failed` bought nothing beyond its last
    score, and may have none.
    """

    group: str
    trial: str
    configuration: str
    points: tuple[CurvePoint, ...]
    stopped_early: bool = False
    failed: bool = False
    seed: int = 0

    @property
    def spent(self) -> float:
        """What the whole training took."""
        return self.points[-1].spent if self.points else 0.0

    def best_within(self, budget: float) -> CurvePoint | None:
        """The best point that a budget pays for: the score of a training that had ended there."""
        paid = (point for point in self.points if point.spent <= budget * (1 + BUDGET_TOLERANCE))
        return min(paid, key=lambda point: point.order, default=None)


@dataclass(frozen=True)
class Scale:
    """Turns scores into numbers whose differences are symmetric, and back; the order stays.

    `sign` is that of all scores, whose logarithm is taken: 1 or -1; 0 for scores of both signs, taken as they are.
    """

    sign: int

    @classmethod
    def of(cls, scores: Float64[ndarray, "..."]) -> Scale:
        """The logarithm, where all scores have the same sign."""
        return cls(1 if (scores > 0).all() else -1 if (scores < 0).all() else 0)

    def forward(self, scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """From scores to the scale."""
        return self.sign * np.log(self.sign * scores) if self.sign else scores

    def back(self, values: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """From the scale to scores."""
        return self.sign * np.exp(self.sign * values) if self.sign else values

    def relative(self, deviations: Float64[ndarray, "..."], scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """Small deviations of scores as deviations on the scale."""
        return np.asarray(deviations / self.size(scores))

    def size(self, scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """How much scores change where they change by 1 on the scale."""
        return np.abs(scores) if self.sign else np.ones_like(scores)
