"""Configurations at a budget: their scores, and the probability that each is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.special import stdtrit  # Student's t quantile; importing scipy.stats takes three times as long

from gensweep.verdict.budget_scores import by_configuration
from gensweep.verdict.expected_best import TAIL
from gensweep.verdict.training_curves import Scale, TrainingCurve

#: Draws for probabilities: one near 0.95 is known to within 0.5 %.
DRAWS = 4000


@dataclass(frozen=True)
class Standing:
    """Score of a configuration at a budget: the mean of its `trainings`, with its standard error.

    `error_apart` is the part of the error without the effect of shared seeds, which decides between configurations;
    `freedom_apart` are its degrees of freedom.  `interval` is the 95 % interval of the mean over seeds, or None with
    one seed.  `curve` is the first training.
    """

    configuration: str
    score: float
    error: float
    interval: tuple[float, float] | None
    error_apart: float
    freedom_apart: int
    trainings: int
    curve: TrainingCurve


def standings(
    curves: Sequence[TrainingCurve], budget: float, overheads: Mapping[str, float] | None = None
) -> list[Standing]:
    """Configurations with a score at the budget, best first, without failed trainings.

    `overheads` are each group's cost in addition to its training.
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
    means, errors, freedom = found.scores[0], np.sqrt(found.variances[0]), len(paid) - len(trained)
    within = _error_within_seeds(list(trained.values()), scale)
    apart, known = (errors, freedom) if within is None else (within[0] * scale.size(means), within[1])
    reach = stdtrit(freedom, 1 - TAIL) * scale.relative(errors, means) if freedom else np.zeros_like(means)
    low, high = (scale.back(scale.forward(means) + end) for end in (-reach, reach))
    rows = []
    for name, score, error, own, *ends in zip(found.configurations, means, errors, apart, low, high, strict=True):
        interval = (float(ends[0]), float(ends[1])) if freedom else None
        first, _ = trained[name][0]
        rows.append(Standing(name, float(score), float(error), interval, float(own), known, len(trained[name]), first))
    return sorted(rows, key=lambda row: row.score)


def _error_within_seeds(
    trained: Sequence[Sequence[tuple[TrainingCurve, float]]], scale: Scale
) -> tuple[float, int] | None:
    """Standard error, on the scale, of a mean over seeds compared with one over the same seeds; degrees of freedom.

    A seed fixes the noise of a training and of its evaluations, so scores of one seed are correlated.  The error is
    the rest after the effects of configurations and seeds.  None unless several configurations were trained with
    the same seeds, each once.  Source: two-way analysis of variance, Fisher 1935, "The design of experiments", chapter
    IV.
    """
    rows = [sorted((curve.seed, score) for curve, score in each) for each in trained]
    seeds = [seed for seed, _ in rows[0]]
    if min(len(rows), len(set(seeds))) < 2 or any([seed for seed, _ in row] != seeds for row in rows):
        return None
    values = scale.forward(np.array([[score for _, score in row] for row in rows]))
    left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    freedom = (len(rows) - 1) * (len(seeds) - 1)
    return float(np.sqrt(np.square(left).sum() / freedom / len(seeds))), freedom


def chances_of_best(scores: Sequence[float], errors: Sequence[float], freedom: int = 0) -> Float64[ndarray, " n"]:
    """Probability of each trained model to be the best, by the errors of their scores alone.

    It covers another training with the same settings only if the errors include the spread between trainings.
    `freedom` are the degrees of freedom of the errors; 0: the errors are known.
    """
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((DRAWS, len(scores)))
    if freedom:
        noise *= np.sqrt(freedom / generator.chisquare(freedom, (DRAWS, 1)))
    return shares_of_wins((np.asarray(scores) + noise * np.asarray(errors)).T)


def shares_of_wins(draws: Float64[ndarray, "n r"]) -> Float64[ndarray, " n"]:
    """Share of the draws in which each is the smallest; ties share the win."""
    smallest = draws == draws.min(0)
    return np.asarray((smallest / smallest.sum(0)).mean(1))
