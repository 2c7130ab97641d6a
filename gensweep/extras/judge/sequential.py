"""The sequential test of `gensweep judge`, on pairs of trainings with the same seeds.

After n pairs the gain is the difference of the mean scores; the base's mean has all its known seeds.  The variance is
pooled over the seeds of both.  Equal seeds can only make the scores of a pair more alike, so the standard error is not
too small.  After each pair, Student's p-value is compared with a bound that grows with n.  Without a gain the p-values
do not depend on the true variance.  So one simulation gives the bounds that hold the error over all looks.

Sources: Pampallona & Tsiatis 1994 (bounds that grow with the number of looks); Jennison & Turnbull 1989 (repeated
intervals); Spiegelhalter et al. 1986 (predictive chance of success, to stop early).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy import stats

Decision = Literal["keep", "discard", "undecided"]

#: Simulated judgements behind the bounds, and behind the chance that more seeds bring a keep.
SIMULATIONS, FORECASTS = 200_000, 4_000
#: A candidate is discarded if the chance that the remaining seeds bring a keep is below this.
LEAST_CHANCE = 0.1
#: Most pairs that a forecast names.
MOST_NEEDED = 99


@dataclass(frozen=True)
class Look:
    """The result after some pairs.  Gains are shares of the base's mean score, above 0 if the candidate is better."""

    pairs: int
    gain: float
    low: float
    high: float
    """The ends of an interval that holds the true gain at all looks together, with the declared error at each end."""
    chance: float
    """The probability that the remaining seeds bring a keep."""
    needed: int | None
    """Pairs after which this gain would be enough for a keep; None if it is too small."""
    decision: Decision


@cache
def p_bounds(most: int, known: int, error: float) -> tuple[float, ...]:
    """The p-value that keeps a candidate after 1, 2, ... `most` pairs; `known` seeds of the base came before them.

    All bounds together keep a candidate without a gain with a probability of `error`.
    """
    generator = np.random.default_rng(0)
    base = generator.standard_normal((SIMULATIONS, max(known, most)))
    candidate = generator.standard_normal((SIMULATIONS, most))
    smallest = np.full(SIMULATIONS, np.inf)
    for n in range(1, most + 1):
        first, second = base[:, : max(known, n)], candidate[:, :n]
        if freedom := _freedom(n, known):
            spread = np.sqrt((_squares(first) + _squares(second)) / freedom)
            ratio = (first.mean(1) - second.mean(1)) / (spread * _width(n, known))
            smallest = np.minimum(smallest, stats.t.sf(ratio, freedom) * most / n)
    return tuple(float(np.quantile(smallest, error)) * n / most for n in range(1, most + 1))


def look(base: np.ndarray, candidate: np.ndarray, *, most: int, error: float, least_gain: float, known: int) -> Look:
    """Judge the pairs so far.  Scores are ordered: lower is better, and those at one position share a seed.

    `known` scores of the base were there before the first pair.  `least_gain` is the smallest gain that matters.
    """
    n, base = len(candidate), base[: max(known, len(candidate))]
    scale, freedom = abs(base.mean()) or 1.0, _freedom(n, known)
    gain = float(base.mean() - candidate.mean()) / scale
    if not freedom:
        return Look(n, gain, -math.inf, math.inf, 1.0, None, "undecided")
    spread = math.sqrt(float(_squares(base[None])[0] + _squares(candidate[None])[0]) / freedom) / scale
    limits = stats.t.isf(p_bounds(most, known, error), freedom)
    reach = spread * np.array([_width(pairs, known) for pairs in range(1, most + 1)]) * limits
    low, high = gain - reach[n - 1], gain + reach[n - 1]
    chance = _chance(gain, spread, freedom, n, known, np.maximum(reach[n:], least_gain))
    further = range(n, MOST_NEEDED + 1) if gain >= least_gain else ()
    needed = next((m for m in further if gain > reach[n - 1] * _width(m, known) / _width(n, known)), None)
    decision: Decision = "undecided"
    if low > 0 and gain >= least_gain:
        decision = "keep"
    elif high < least_gain or (n < most and chance < LEAST_CHANCE):
        decision = "discard"
    return Look(n, gain, float(low), float(high), chance, needed, decision)


def _chance(gain: float, spread: float, freedom: int, n: int, known: int, needed: np.ndarray) -> float:
    """The predictive probability that the gain exceeds `needed` at one of the next looks."""
    generator = np.random.default_rng(0)
    scale = spread * np.sqrt(freedom / generator.chisquare(freedom, (FORECASTS, 1)))
    looks = np.arange(n + 1, n + 1 + len(needed))

    def means(mean: float, count: int) -> np.ndarray:
        true = mean + scale / math.sqrt(count) * generator.standard_normal((FORECASTS, 1))
        new = true + scale * generator.standard_normal((FORECASTS, n + len(needed)))
        sums = np.insert(new.cumsum(1), 0, 0.0, axis=1)
        return np.asarray((count * mean + sums[:, np.maximum(looks - count, 0)]) / np.maximum(looks, count))

    return float((means(gain, n) - means(0.0, max(n, known)) > needed).any(1).mean())


def _squares(scores: np.ndarray) -> np.ndarray:
    """Sums of squared distances from the mean, by row."""
    return np.asarray(((scores - scores.mean(1, keepdims=True)) ** 2).sum(1))


def _freedom(pairs: int, known: int) -> int:
    return pairs - 1 + max(pairs, known) - 1


def _width(pairs: int, known: int) -> float:
    """The standard error of a gain, in standard deviations of one training."""
    return math.sqrt(1 / pairs + 1 / max(pairs, known))
