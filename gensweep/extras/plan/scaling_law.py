"""A saturating power law of score over the size of a network and its training images, and its fit.

    score = F + E + A (f / f_0)^-a + B (D / D_0)^-b

f is the FLOPs of training one image, a measure of the network's size, and D the number of images: a training costs f D.
F is the known floor, the score of real images.  E is the rest that no compute removes.  Source: Hoffmann et al. 2022,
eq. 2, whose N parameters are f here and whose E is F + E.  The fit uses logarithms of score - F and of the parameters.

Scores of one training deviate from the law together, because of its learning rate or its seed.  So training i has an
effect u_i, and its j-th score is

    log (score_ij - F) = log L(f_i, D_ij) + u_i + e_ij        u_i ~ (0, tau^2),  e_ij ~ (0, sigma^2)

with the law L above the floor F.  The residuals split into their mean and the deviations from it.  Huber's loss on both
limits the influence of a single training or score.  The effects also make early stopping harmless: a scheduler stops a
trial because of scores that are in the data (missing at random, Rubin 1976).  Without effects, the good trainings that
remain would bend the law downwards.

The fit maximises the posterior density by L-BFGS from several starts, as Hoffmann et al. 2022 do.  Its uncertainty is
from laws fitted to configurations sampled with replacement, each with a sampled centre of the prior.  So a parameter
that the data do not determine is as uncertain as the prior (Bardsley et al. 2014, randomize-then-optimize).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from gensweep.extras.plan.scored_trainings import Array, Observations


class LawPrior(NamedTuple):
    """Prior of a law: the logarithm of each parameter is normal around `mean`."""

    mean: Array
    deviation: Array


#: Parameters in the order of their array: E, A, a, B, b, then the standard deviations of the logarithms of trials
#: (between them) and of scores (within one).  E, A and B are in units of the median score above F.  Exponents of
#: one half are what Hoffmann et al. (0.34, 0.28) and Hestness et al. 2017 (0.07 to 0.5) found, rounded up as small
#: networks learn faster; E may be anything, so its deviation is a factor of 7.
PRIOR = LawPrior(np.log(np.array([0.3, 0.2, 0.5, 0.5, 0.5, 0.2, 0.03])), np.array([2.0, 1.5, 0.7, 1.5, 0.7, 1.0, 1.0]))
FLOOR, SIZE, SIZE_EXPONENT, IMAGES, IMAGES_EXPONENT, TRIAL_DEVIATION, SCORE_DEVIATION = range(7)

#: Standard deviations from which on Huber's loss grows in a line, which costs normal data 4 % of precision.  (Hoffmann
#: et al. have 1e-3 of a logarithm, which is a line everywhere; their losses have hardly any noise.)
HUBER_DELTA = 1.5
#: Prior deviations on each side of the prior's centre where fits begin.
START_OFFSETS = (-0.7, 0.7)
#: Logarithms beyond which no parameter goes, so that nothing overflows.
BOUND = 12.0
#: How far, on each side of a law, gradients are taken that say how curved the loss is there.
CURVATURE_STEP = 1e-4
#: The least curvature that a parameter is taken to have; the prior of E, the widest, has a quarter.
MIN_CURVATURE = 0.1


class LawTerms(NamedTuple):
    """The three parts of a law's scores above the known floor, which add up."""

    floor: Array
    size: Array
    images: Array

    @property
    def log_score(self) -> Array:
        """The logarithm of their sum."""
        total: Array = np.log(self.floor + self.size + self.images)
        return total


def law_terms(parameters: Array, log_flops: Array, log_images: Array) -> LawTerms:
    """The parts for logarithms of FLOPs an image and of images, both in the law's units.

    `parameters` are an array of one law, or of several with the parameters as the last axis; the points follow as the
    last axis of the result.
    """
    floor, size, images = (np.exp(parameters[..., index, None]) for index in (FLOOR, SIZE, IMAGES))
    a, b = (np.exp(parameters[..., index, None]) for index in (SIZE_EXPONENT, IMAGES_EXPONENT))
    return LawTerms(floor + 0 * log_images, size * np.exp(-a * log_flops), images * np.exp(-b * log_images))


def fit_law(observations: Observations) -> Array:
    """The parameters of the most probable law."""
    weights = np.ones(len(observations.trainings))
    starts = []
    for offsets in itertools.product(START_OFFSETS, repeat=3):
        starts.append(PRIOR.mean.copy())
        starts[-1][[FLOOR, SIZE, IMAGES_EXPONENT]] += PRIOR.deviation[[FLOOR, SIZE, IMAGES_EXPONENT]] * offsets
    return _minimise(observations, weights, PRIOR, starts)


def fit_replicates(observations: Observations, best: Array, rng: np.random.Generator, count: int) -> Array:
    """Laws of the bootstrap, (count, parameters).

    They are found in units in which the loss is curved alike along each parameter, where L-BFGS takes four tenths fewer
    steps.
    """
    names, units = observations.configurations, _curvatures(observations, best) ** -0.5
    number = int(names.max()) + 1
    laws = []
    for _ in range(count):
        drawn = np.bincount(rng.integers(number, size=number), minlength=number).astype(float)
        prior = LawPrior(PRIOR.mean + PRIOR.deviation * rng.normal(size=len(PRIOR.mean)), PRIOR.deviation)
        laws.append(_minimise(observations, drawn[names], prior, [best], units))
    return np.array(laws)


def _curvatures(observations: Observations, at: Array) -> Array:
    """The second derivatives of the loss by each parameter."""
    steps, weights = CURVATURE_STEP * np.eye(len(at)), np.ones(len(observations.trainings))
    slopes = [
        [law_loss(at + sign * step, observations, weights, PRIOR)[1] @ step for sign in (1, -1)] for step in steps
    ]
    above, below = np.array(slopes).T
    return np.asarray(np.maximum((above - below) / (2 * CURVATURE_STEP**2), MIN_CURVATURE))


def _minimise(
    observations: Observations, weights: Array, prior: LawPrior, starts: list[Array], units: Array | float = 1.0
) -> Array:
    from scipy.optimize import minimize

    def loss(scaled: Array) -> tuple[float, Array]:
        value, gradient = law_loss(scaled * units, observations, weights, prior)
        return value, gradient * units

    bounds = np.array([(-BOUND, BOUND)] * len(prior.mean))
    bounds[SIZE_EXPONENT] = bounds[IMAGES_EXPONENT] = (-4.0, 2.0)  # exponents of 0.02 to 7.4
    bounds[TRIAL_DEVIATION] = bounds[SCORE_DEVIATION] = (-7.0, 1.0)  # deviations of 0.1 % to a factor of 15
    fits = [minimize(loss, start / units, jac=True, method="L-BFGS-B", bounds=(bounds.T / units).T) for start in starts]
    found: Array = min(fits, key=lambda fit: float(fit.fun)).x * units
    return found


def law_loss(parameters: Array, data: Observations, weights: Array, prior: LawPrior) -> tuple[float, Array]:
    """The negative logarithm of a law's posterior density up to a constant, and its gradient.

    `weights` say how often each training counts.
    """
    terms = law_terms(parameters, data.log_flops, data.log_images)
    counts, whose = data.counts, data.training
    residual = data.log_score - terms.log_score
    mean = np.bincount(whose, residual, minlength=len(counts)) / counts
    between, within = np.exp(2 * parameters[[TRIAL_DEVIATION, SCORE_DEVIATION]])
    variance = between + within / counts
    scale, scale_within = np.sqrt(variance), np.sqrt(within)
    scaled_mean = mean / scale
    of_means, of_means_slope = _huber(scaled_mean)
    deviation = (residual - mean[whose]) / scale_within
    of_deviations, deviation_slope = _huber(deviation)
    sums = np.bincount(whose, of_deviations, minlength=len(counts))
    loss = float(weights @ (of_means + np.log(variance) / 2 + sums + (counts - 1) * parameters[SCORE_DEVIATION]))
    centred = deviation_slope - (np.bincount(whose, deviation_slope, minlength=len(counts)) / counts)[whose]
    by_residual = weights[whose] * ((of_means_slope / scale / counts)[whose] + centred / scale_within)
    share = -by_residual / (terms.floor + terms.size + terms.images)
    gradient = np.zeros_like(parameters)
    gradient[FLOOR], gradient[SIZE], gradient[IMAGES] = share @ terms.floor, share @ terms.size, share @ terms.images
    gradient[SIZE_EXPONENT] = -np.exp(parameters[SIZE_EXPONENT]) * (share * terms.size) @ data.log_flops
    gradient[IMAGES_EXPONENT] = -np.exp(parameters[IMAGES_EXPONENT]) * (share * terms.images) @ data.log_images
    unexplained = 1 - of_means_slope * scaled_mean
    products = np.bincount(whose, deviation_slope * deviation, minlength=len(counts))
    gradient[TRIAL_DEVIATION] = weights @ (unexplained * between / variance)
    gradient[SCORE_DEVIATION] = weights @ (unexplained * within / counts / variance + counts - 1 - products)
    distance = (parameters - prior.mean) / prior.deviation
    return loss + float(distance @ distance) / 2, gradient + distance / prior.deviation


def _huber(z: Array) -> tuple[Array, Array]:
    """Huber's loss in its smooth form, delta^2 (sqrt(1 + (z / delta)^2) - 1), and its slope."""
    root = np.sqrt(1 + (z / HUBER_DELTA) ** 2)
    return HUBER_DELTA**2 * (root - 1), z / root
