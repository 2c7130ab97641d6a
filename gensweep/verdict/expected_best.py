"""Expected best of k configurations and its uncertainty, from the scores of n; smaller scores are better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray
from scipy.special import stdtrit  # Student's t quantile; importing scipy.stats takes three times as long

from gensweep.verdict.training_curves import Scale

#: With fewer configurations, the band may cover the truth in less than 92 % of cases (docs/verdict.md).
MIN_CONFIGURATIONS = 8
#: Of n configurations, the best of up to n / CONFIGURATIONS_PER_TRY has a valid band.
CONFIGURATIONS_PER_TRY = 3
#: A search tries at least two; the mean score would describe the bad configurations more than the best.
MIN_TRIES = 2
#: With more configurations, the bootstrap does not draw one weight for each.
MOST_WEIGHTS = 1000
#: Number of groups in one comparison.
COMPARED = 2
#: The probability on each side of a 95 % interval.
TAIL = 0.025


@dataclass(frozen=True)
class BestOfK:
    """The expected best of k configurations, `centre`, on a scale where its error is symmetric.

    `influences` are each configuration's contribution to the error.  The root of their sum of squares is the standard
    error, known with `freedom` degrees of freedom.  `predictions` are the influences from predicting unknown scores,
    with a well-known error.
    """

    centre: Float64[ndarray, "..."]
    influences: Float64[ndarray, "... n"]
    freedom: Float64[ndarray, "..."] | float
    scale: Scale
    predictions: Float64[ndarray, "... m"] | None = None

    @property
    def error(self) -> Float64[ndarray, "..."]:
        """Standard error over configurations, on the scale."""
        return np.asarray(np.sqrt(np.square(self.influences).sum(-1)))

    @property
    def value(self) -> Float64[ndarray, "..."]:
        """The expected best, as a score."""
        return self.scale.back(self.centre)

    @property
    def band(self) -> tuple[Float64[ndarray, "..."], Float64[ndarray, "..."]]:
        """Ends of the 95 % interval, as scores; independent half-widths add as squares (Zou & Donner 2008)."""
        reach = stdtrit(self.freedom, 1 - TAIL) * self.error
        if self.predictions is not None:
            predicted = stdtrit(self.predictions.shape[-1] - 1, 1 - TAIL) * np.sqrt(np.square(self.predictions).sum(-1))
            reach = np.hypot(reach, predicted)
        return self.scale.back(self.centre - reach), self.scale.back(self.centre + reach)

    def draws(self, number: int, generator: np.random.Generator) -> Float64[ndarray, "number ..."]:
        """Bootstrap draws of the expected best on the scale, for comparing it with another group's.

        A multiplier bootstrap over configurations, with the same weights along a curve.  The difference of two groups
        has the degrees of freedom of both, so each draw uses `COMPARED` times its group's.  `freedom` must be one
        number.
        """
        freedom, influences = COMPARED * self.freedom, self.influences
        if influences.shape[-1] > MOST_WEIGHTS:
            # Normal weights depend only on the covariance of the sums; a triangular root has the same one.
            flat = influences.reshape(-1, influences.shape[-1])
            influences = np.asarray(np.linalg.qr(flat.T, mode="r")).T.reshape(*influences.shape[:-1], -1)
        weights = generator.standard_normal((influences.shape[-1], number))
        inflation = np.sqrt(freedom / generator.chisquare(freedom, number))
        drawn = self.centre + np.tensordot(weights * inflation, influences, (0, -1))
        if self.predictions is not None:
            weights = generator.standard_normal((self.predictions.shape[-1], number))
            drawn += np.tensordot(weights, self.predictions, (0, -1))
        return np.asarray(drawn)


def expected_best(scores: Float64[ndarray, "... n"], k: int) -> Float64[ndarray, "..."]:
    """Mean of the best over all choices of k of the n scores: the unbiased estimate of E[min of k draws].

    Drawing with replacement (Dodge et al. 2019) is biased: it counts a score twice, so the expected best is too bad.
    Source: Tang et al. 2020, "Showing your work doesn't always work".
    """
    return np.asarray(np.sort(scores, axis=-1) @ rank_weights(scores.shape[-1], k))


@cache
def rank_weights(n: int, k: int) -> Float64[ndarray, " n"]:
    """Probability w_i that the i-th best of n is the best of k chosen: C(n - i, k - 1) / C(n, k).

    w_1 = k / n, and w_(i+1) / w_i = (n - i - k + 1) / (n - i).
    """
    left = n - np.arange(1, n)
    return np.asarray(k / n * np.cumprod(np.concatenate([[1.0], np.maximum(left - k + 1, 0) / left])))


def without_each(scores: Float64[ndarray, "... n"], k: int) -> Float64[ndarray, "... n"]:
    """Expected best of k with each configuration left out in turn."""
    order = np.argsort(scores, axis=-1)
    ranked, weights = np.take_along_axis(scores, order, -1), rank_weights(scores.shape[-1] - 1, k)
    zero = np.zeros((*scores.shape[:-1], 1))
    better = np.concatenate([zero, np.cumsum(ranked[..., :-1] * weights, -1)], -1)
    worse = np.concatenate([np.cumsum((ranked[..., 1:] * weights)[..., ::-1], -1)[..., ::-1], zero], -1)
    left = np.empty_like(ranked)
    np.put_along_axis(left, order, better + worse, -1)
    return left


def tries_for(configurations: int) -> int:
    """Number of tries to compare: the most with a valid band, or two if there is none."""
    return max(min(MIN_TRIES, configurations - 1), configurations // CONFIGURATIONS_PER_TRY)


def best_of_k(
    scores: Float64[ndarray, "... n"],
    k: int,
    *,
    variances: Float64[ndarray, "... n"] | float = 0.0,
    scale: Scale | None = None,
    failed: Bool[ndarray, "... n"] | bool = False,
) -> BestOfK:
    """Expected best of k configurations by their true scores; `scores` are measurements.

    `variances` are those of the measurements.  The best of noisy scores is too good, so scores are first shrunk until
    they vary as the true ones do; the scores of `failed` configurations stay.  The standard error is a jackknife over
    the unshrunk scores, so it includes measurement errors.  Its degrees of freedom are (n - 1) / k.
    Needs at least k + 1 configurations.
    Source: Efron & Stein 1981 (the jackknife).
    """
    n, scale = scores.shape[-1], scale or Scale.of(scores)
    measured = np.broadcast_to(np.logical_not(failed), scores.shape)
    together = drawn_together(scores, np.broadcast_to(variances, scores.shape), measured)
    centre = scale.forward(expected_best(together, k))
    left_out = scale.forward(without_each(scores, k))
    influences = math.sqrt((n - 1) / n) * (left_out.mean(-1, keepdims=True) - left_out)
    return BestOfK(centre, influences, (n - 1) / k, scale)


def pooled(draws: Sequence[BestOfK]) -> BestOfK:
    """Pool estimates from several draws of unknown scores: variances within and between draws add.

    Source: Rubin 1987, "Multiple imputation for nonresponse in surveys", eq. 3.1.
    """
    first, number = draws[0], len(draws)
    if number == 1:
        return first
    centres = np.stack([each.centre for each in draws], -1)
    centre = centres.mean(-1)
    between = (centres - centre[..., None]) * math.sqrt((1 + 1 / number) / (number - 1))
    within = np.sqrt(sum(np.square(each.influences) for each in draws) / number)
    signs = np.sign(sum(each.influences for each in draws))
    return BestOfK(centre, signs * within, first.freedom, first.scale, between)


def drawn_together(
    scores: Float64[ndarray, "... n"], variances: Float64[ndarray, "... n"], measured: Bool[ndarray, "... n"]
) -> Float64[ndarray, "... n"]:
    """Shrink measured scores towards their mean to remove the variance of their errors.

    y_i' = mean + sqrt(A / (A + v_i)) (y_i - mean), with v_i the variance of the error of y_i, and A the variance of
    the true y: the variance of the scores minus the mean of v, at least 0.  Source: Louis 1984.
    """
    n = measured.sum(-1, keepdims=True)
    mean, error = (np.sum(each, -1, where=measured, keepdims=True) / n.clip(1) for each in (scores, variances))
    spread = np.sum(np.square(scores - mean), -1, where=measured, keepdims=True) / (n - 1).clip(1)
    apart, drawn = np.maximum(spread - error, 0.0), measured & (variances > 0)
    shares = np.divide(apart, apart + variances, out=np.ones_like(scores), where=drawn)
    return np.asarray(mean + np.sqrt(shares) * (scores - mean))
