"""The sequential test of `gensweep judge`, on pairs of trainings with the same seeds.

After n pairs, the gain is the mean of their differences.  Its standard error comes from the differences (Student's
paired test), or from the variance pooled over all known seeds of both (Student's test of two samples).  Pairs that are
alike make the first one small; the second one has more degrees of freedom, and equal seeds can only make it too large.
The smaller of both p-values is compared with a bound that grows with n.  Without a gain the p-values do not depend on
the true variance.  So one simulation gives the bounds that hold the error over both tests and all looks.

Sources: Pampallona & Tsiatis 1994 (bounds that grow with the number of looks); Jennison & Turnbull 1989 (repeated
intervals); Spiegelhalter et al. 1986 (predictive chance of success, to stop early).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy import stats

Decision = Literal["keep", "discard", "undecided"]

#: Simulated judgements behind the bounds, and behind the chance that more seeds bring a keep.
SIMULATIONS, FORECASTS = 200_000, 4_000
#: The bounds grow with this power of the number of pairs.
GROWTH = 2
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
        gain = (base[:, :n] - candidate[:, :n]).mean(1)
        for spread, freedom in _spreads(base[:, : max(known, n)], candidate[:, :n]):
            p = stats.t.sf(gain / spread * math.sqrt(n), freedom)
            smallest = np.minimum(smallest, p * (most / n) ** GROWTH)
    return tuple(float(np.quantile(smallest, error)) * (n / most) ** GROWTH for n in range(1, most + 1))


def look(base: np.ndarray, candidate: np.ndarray, *, most: int, error: float, least_gain: float, known: int) -> Look:
    """Judge the pairs so far.  Scores are ordered: lower is better, and those at one position share a seed.

    `known` scores of the base were there before the first pair.  `least_gain` is the smallest gain that matters.
    """
    n, base = len(candidate), base[: max(known, len(candidate))]
    scale, bounds = abs(float(base.mean())) or 1.0, p_bounds(most, known, error)
    gain = float((base[:n] - candidate).mean()) / scale
    found = [(float(each[0]) / scale, freedom) for each, freedom in _spreads(base[None], candidate[None])]
    if not found:
        return Look(n, gain, -math.inf, math.inf, 1.0, None, "undecided")
    reaches = [spread / math.sqrt(n) * stats.t.isf(bounds[n - 1], freedom) for spread, freedom in found]
    reach, (spread, freedom) = min(zip(reaches, found, strict=True))
    low, high = gain - reach, gain + reach
    chance = _chance(gain, spread, freedom, n, bounds[n:], least_gain)
    further = range(n, MOST_NEEDED + 1) if gain >= least_gain else ()
    needed = next((m for m in further if gain > reach * math.sqrt(n / m)), None)
    decision: Decision = "undecided"
    if low > 0 and gain >= least_gain:
        decision = "keep"
    elif high < least_gain or (n < most and chance < LEAST_CHANCE):
        decision = "discard"
    return Look(n, gain, float(low), float(high), chance, needed, decision)


def _chance(gain: float, spread: float, freedom: int, n: int, bounds: tuple[float, ...], least_gain: float) -> float:
    """The predictive probability that one of the next looks keeps the candidate."""
    generator, pairs = np.random.default_rng(0), np.arange(n + 1, n + 1 + len(bounds))
    scale = spread * np.sqrt(freedom / generator.chisquare(freedom, (FORECASTS, 1)))
    true = gain + scale / math.sqrt(n) * generator.standard_normal((FORECASTS, 1))
    new = true + scale * generator.standard_normal((FORECASTS, len(bounds)))
    means = (n * gain + new.cumsum(1)) / pairs
    needed = spread / np.sqrt(pairs) * stats.t.isf(bounds, freedom + pairs - n)
    return float((means > np.maximum(needed, least_gain)).any(1).mean())


def _spreads(base: np.ndarray, candidate: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Standard deviations of a pair's difference, by row, with their degrees of freedom."""
    pairs = candidate.shape[1]
    if freedom := pairs - 1 + base.shape[1] - 1:
        yield np.sqrt(2 * (_squares(base) + _squares(candidate)) / freedom), freedom
    if pairs > 1:
        yield (base[:, :pairs] - candidate).std(1, ddof=1), pairs - 1


def _squares(scores: np.ndarray) -> np.ndarray:
    """Sums of squared distances from the mean, by row."""
    return np.asarray(((scores - scores.mean(1, keepdims=True)) ** 2).sum(1))
