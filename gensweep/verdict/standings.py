"""Configurations at a budget, one by one: their scores, and the probability that each is the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats takes three times as long to import

from gensweep.verdict.budget_scores import by_configuration
from gensweep.verdict.expected_best import TAIL
from gensweep.verdict.training_curves import Scale, TrainingCurve

#: Draws from which probabilities are counted: one near 0.95 is known to within 0.5 %.
DRAWS = 4000


@dataclass(frozen=True)
class Standing:
    """What a configuration scores at a budget: the mean of its `trainings`, with its standard error.

    `freedom` are the degrees of freedom of the variance between trainings that is in the error; 0 if it is not.
    `error_apart` is the part of the error that decides which configuration is the better one, without what trainings of
    one seed share, and `freedom_apart` its degrees of freedom.
    """

    configuration: str
    score: float
    error: float
    freedom: int
    error_apart: float
    freedom_apart: int
    trainings: int
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
    trained: dict[str, list[tuple[TrainingCurve, float]]] = {}
    for curve, point in paid:
        trained.setdefault(curve.configuration, []).append((curve, point.order))
    freedom, within = len(paid) - len(trained), _error_within_seeds(list(trained.values()), scale)
    rows = []
    for name, score, variance in zip(found.configurations, found.scores[0], found.variances[0], strict=True):
        error = float(variance) ** 0.5
        apart, known = (error, freedom) if within is None else (within[0] * float(scale.size(score)), within[1])
        mine = [curve for curve, _ in trained[name]]
        rows.append(Standing(name, float(score), error, freedom, apart, known, len(mine), mine[0], scale))
    return sorted(rows, key=lambda row: row.score)


def _error_within_seeds(
    trained: Sequence[Sequence[tuple[TrainingCurve, float]]], scale: Scale
) -> tuple[float, int] | None:
    """The standard error on the scale of a mean over seeds beside one over the same seeds, and its degrees of freedom.

    A seed decides the noise of a training and of its evaluations, so scores of one seed lie together.  Chance is what
    the effects of configurations and of seeds leave.  None unless several configurations were trained with the same
    seeds, each once.  Source: the two-way analysis of variance, Fisher 1935, "The design of experiments", chapter IV.
    """
    rows = [sorted((curve.seed, score) for curve, score in each) for each in trained]
    seeds = [seed for seed, _ in rows[0]]
    if min(len(rows), len(set(seeds))) < 2 or any([seed for seed, _ in row] != seeds for row in rows):
        return None
    values = scale.forward(np.array([[score for _, score in row] for row in rows]))
    left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    freedom = (len(rows) - 1) * (len(seeds) - 1)
    return float(np.sqrt(np.square(left).sum() / freedom / len(seeds))), freedom


def chances_of_best(
    scores: Sequence[float], errors: Sequence[float], freedom: int = 0, *, seed: int = 0
) -> Float64[ndarray, " n"]:
    """The probability of each of a few trained models that it is the best, by the errors of their scores alone.

    It says nothing of the same settings trained again, unless the errors hold the chance between trainings, of which
    `freedom` says how well it is known; 0: the errors are known.
    """
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((DRAWS, len(scores)))
    if freedom:
        noise *= np.sqrt(freedom / generator.chisquare(freedom, (DRAWS, 1)))
    return shares_of_wins((np.asarray(scores) + noise * np.asarray(errors)).T)


def shares_of_wins(draws: Float64[ndarray, "n r"]) -> Float64[ndarray, " n"]:
    """In which share of the draws each is the smallest; those that are equal share the win."""
    smallest = draws == draws.min(0)
    return np.asarray((smallest / smallest.sum(0)).mean(1))
