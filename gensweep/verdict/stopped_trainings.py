"""Predict the scores of stopped trainings after more compute, as draws from a mixed model.

On the scale of scores, training i follows y_i(s) = m(s) + f_i + p_i log(s / s_k) + noise, with normal intercepts
f_i and slopes p_i, and any mean curve m (Laird & Ware 1982, "Random-effects models for longitudinal data").  The
scheduler decides by scores that the model sees, so its choice of trainings to stop can be ignored (Rubin 1976,
"Inference and missing data").  The variances and m are drawn, too: the fewer trainings passed a rung, the wider the
draws spread.

Shapes: m draws, t trainings, k knots (amounts of compute) s_1 to s_k, r ratios of variances, p patterns of knots
with a known value.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

#: Draws of the scores of a group: their spread is known to within a ninth.
IMPUTATIONS = 40
#: Variances of slopes and of noise that are tried, relative to the variance of intercepts.
SLOPES = np.geomspace(0.003, 3.0, 10)
NOISES = np.geomspace(0.001, 1.0, 4)
#: With fewer degrees of freedom the draws would have no variance.
MIN_FREEDOM = 4


def draw_last(
    values: Float64[ndarray, "t k"],
    known: Bool[ndarray, "t k"],
    positions: Float64[ndarray, " k"],
    generator: np.random.Generator,
) -> Float64[ndarray, "m t"]:
    """Draws of the values at the last knot, which is known of one training at least.

    `positions` are the logarithms of the knots relative to the last one, and each knot is known of a training.
    Trainings whose last value is known keep it.
    """
    trainings, k = values.shape
    freedom = max(int(known.sum()) - k, MIN_FREEDOM)
    uniform, chi_squares = generator.random(IMPUTATIONS), generator.chisquare(freedom, IMPUTATIONS)
    own = generator.standard_normal((IMPUTATIONS, trainings))
    # From the last knot on, so that draws at neighbouring amounts belong together.
    of_mean = generator.standard_normal((IMPUTATIONS, k))[:, ::-1]
    slopes, noises = (each.reshape(-1, 1, 1) for each in np.meshgrid(SLOPES, NOISES))
    covariances = 1.0 + slopes * np.outer(positions, positions) + noises * np.eye(k)
    middle = values[known].mean()
    values = np.where(known, values - middle, 0.0)
    patterns, member = np.unique(known, axis=0, return_inverse=True)
    means, roots, squares, likelihoods = _fits(values, patterns, member.reshape(-1), covariances, freedom)
    chances = np.cumsum(np.exp(likelihoods - likelihoods.max()))
    chosen = np.searchsorted(chances, uniform * chances[-1])
    size = np.sqrt(squares[chosen] / chi_squares)[:, None]
    mean = means[chosen] + size * np.einsum("mk,mkl->ml", of_mean, roots[chosen])
    drawn = np.repeat(values[None, :, -1], IMPUTATIONS, 0)
    for index, pattern in enumerate(patterns):
        if pattern[-1] or not pattern.any():
            continue
        of, across = member.reshape(-1) == index, covariances[:, pattern, -1]
        weights = np.linalg.solve(covariances[:, pattern][:, :, pattern], across[..., None])[..., 0]
        left = np.sqrt(covariances[:, -1, -1] - np.sum(across * weights, -1))[chosen, None]
        apart = values[of][:, pattern] - mean[:, None, pattern]
        drawn[:, of] = mean[:, -1:] + np.einsum("mto,mo->mt", apart, weights[chosen]) + size * left * own[:, of]
    return np.asarray(middle + drawn)


def _fits(
    values: Float64[ndarray, "t k"],
    patterns: Bool[ndarray, "p k"],
    member: Int64[ndarray, " t"],
    covariances: Float64[ndarray, "r k k"],
    freedom: int,
) -> tuple[Float64[ndarray, "r k"], Float64[ndarray, "r k k"], Float64[ndarray, " r"], Float64[ndarray, " r"]]:
    """For each covariance: the mean by generalised least squares, a root of its covariance, squares, log-likelihood.

    Squares are the residual sums; the likelihood is the restricted one.  Source: Harville 1977.
    """
    precision, sums = np.zeros_like(covariances), np.zeros(covariances.shape[:2])
    squares, determinants = np.zeros((2, len(covariances)))
    for index, pattern in enumerate(patterns):
        found = values[member == index][:, pattern]
        inverse = np.linalg.inv(covariances[:, pattern][:, :, pattern])
        precision[:, np.outer(pattern, pattern)] += len(found) * inverse.reshape(len(inverse), -1)
        sums[:, pattern] += inverse @ found.sum(0)
        squares += np.einsum("ti,rij,tj->r", found, inverse, found)
        determinants -= len(found) * np.linalg.slogdet(inverse)[1]
    means = np.linalg.solve(precision, sums[..., None])[..., 0]
    left = np.maximum(squares - np.sum(sums * means, -1), 1e-12)
    likelihoods = -0.5 * (determinants + np.linalg.slogdet(precision)[1] + freedom * np.log(left))
    return means, np.linalg.inv(np.linalg.cholesky(precision)), left, likelihoods
