"""The sequential test of `gensweep judge`, on pairs of trainings with the same seeds.

After n pairs, the gain is the mean of their differences, and Student's paired p-value is compared with a bound that
grows with n.  Trainings that share a seed share the first weights, the batches, and the noise of the scored images.  So
after a small change their scores are alike, and the differences scatter less than the scores (experiments/judge).
Without a gain the p-values do not depend on the true variance.  So one simulation gives the bounds that hold the error
over all looks.

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
#: The bounds grow with this power of the number of pairs.
GROWTH = 3
#: A candidate is discarded if the chance that the remaining seeds bring a keep is below this.
LEAST_CHANCE = 0.25
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
def p_bounds(most: int, error: float) -> np.ndarray:
    """The p-value that keeps a candidate after 2, 3, ... `most` pairs.

    All bounds together keep a candidate without a gain with a probability of `error`.
    """
    pairs = np.arange(2, most + 1)
    gains = np.random.default_rng(0).standard_normal((SIMULATIONS, most))
    ratios = [gains[:, :n].mean(1) / gains[:, :n].std(1, ddof=1) * math.sqrt(n) for n in pairs]
    growth = (pairs / most) ** GROWTH
    smallest = (stats.t.sf(np.stack(ratios, 1), pairs - 1) / growth).min(1)
    return np.asarray(np.quantile(smallest, error) * growth)


def look(base: np.ndarray, candidate: np.ndarray, *, most: int, error: float, least_gain: float) -> Look:
    """Judge the pairs so far.  Scores are ordered: lower is better, and those at one position share a seed.

    `least_gain` is the smallest gain that matters.
    """
    n, scale = len(candidate), abs(float(base.mean())) or 1.0
    gains = (base - candidate) / scale
    gain = float(gains.mean())
    if n < 2:
        return Look(n, gain, -math.inf, math.inf, 1.0, None, "undecided")
    spread, pairs = float(gains.std(ddof=1)), np.arange(n, most + 1)
    reaches = spread / np.sqrt(pairs) * stats.t.isf(p_bounds(most, error)[n - 2 :], pairs - 1)
    reach = float(reaches[0])
    low, high = gain - reach, gain + reach
    chance = _chance(gain, spread, n, np.maximum(reaches[1:], least_gain))
    further = range(n, MOST_NEEDED + 1) if gain >= least_gain else ()
    needed = next((m for m in further if gain > reach * math.sqrt(n / m)), None)
    decision: Decision = "undecided"
    if low > 0 and gain >= least_gain:
        decision = "keep"
    elif high < least_gain or (n < most and chance < LEAST_CHANCE):
        decision = "discard"
    return Look(n, gain, low, high, chance, needed, decision)


def _chance(gain: float, spread: float, n: int, needed: np.ndarray) -> float:
    """The predictive probability that the gain exceeds `needed` at one of the next looks."""
    generator = np.random.default_rng(0)
    scale = spread * np.sqrt((n - 1) / generator.chisquare(n - 1, (FORECASTS, 1)))
    true = gain + scale / math.sqrt(n) * generator.standard_normal((FORECASTS, 1))
    new = true + scale * generator.standard_normal((FORECASTS, len(needed)))
    means = (n * gain + new.cumsum(1)) / np.arange(n + 1, n + 1 + len(needed))
    return float((means > needed).any(1).mean())
