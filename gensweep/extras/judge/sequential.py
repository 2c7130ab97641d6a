"""The sequential test of `gensweep judge`, on pairs of trainings with the same seeds.

After n pairs, the gain is the mean of their differences, and Student's paired p-value is compared with a bound that
grows with n.  Without a gain the p-values do not depend on the true variance, so one simulation gives the bounds that
hold the error over all looks.

Sources: Pampallona & Tsiatis 1994 (bounds that grow with the number of looks); Jennison & Turnbull 1989 (repeated
intervals); Spiegelhalter et al. 1986 (predictive chance of success, to stop early).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

#: Simulated judgements behind the bounds, and behind the chance that more seeds bring a keep.
SIMULATIONS, FORECASTS = 200_000, 4_000
#: The bounds grow with this power of the number of pairs.
GROWTH = 3
#: A candidate is discarded if the chance that the remaining seeds bring a keep is below this.
LEAST_CHANCE = 0.25


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
    decision: str
    """Keep, discard or undecided."""


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


def judge_pairs(base: np.ndarray, candidate: np.ndarray, *, most: int, **rules: float) -> list[Look]:
    """The result after each pair, up to the first decision; see `look`."""
    looks = list[Look]()
    for n in range(1, min(len(base), len(candidate), most) + 1):
        looks.append(look(base[:n], candidate[:n], most=most, **rules))
        if looks[-1].decision != "undecided":
            break
    return looks


def look(base: np.ndarray, candidate: np.ndarray, *, most: int, error_rate: float, min_gain: float) -> Look:
    """The result after these pairs of `most` ones.

    Scores are ordered: lower is better, and those at one position share a seed.
    """
    n, scale = len(base), abs(float(base.mean())) or 1.0
    gains = (base - candidate) / scale
    gain = float(gains.mean())
    if n < 2:
        return Look(n, gain, -math.inf, math.inf, 1.0, "undecided")
    spread, pairs = float(gains.std(ddof=1)), np.arange(n, most + 1)
    reach, *later = spread / np.sqrt(pairs) * stats.t.isf(p_bounds(most, error_rate)[n - 2 :], pairs - 1)
    low, high = gain - float(reach), gain + float(reach)
    chance = _chance(gain, spread, n, np.maximum(later, min_gain))
    decision = "undecided"
    if low > 0 and gain >= min_gain:
        decision = "keep"
    elif high < min_gain or (later and chance < LEAST_CHANCE):
        decision = "discard"
    return Look(n, gain, low, high, chance, decision)


def _chance(gain: float, spread: float, n: int, needed: np.ndarray) -> float:
    """The predictive probability that the gain exceeds `needed` at one of the next looks."""
    generator = np.random.default_rng(0)
    scale = spread * np.sqrt((n - 1) / generator.chisquare(n - 1, (FORECASTS, 1)))
    true = gain + scale / math.sqrt(n) * generator.standard_normal((FORECASTS, 1))
    new = true + scale * generator.standard_normal((FORECASTS, len(needed)))
    means = (n * gain + new.cumsum(1)) / np.arange(n + 1, n + 1 + len(needed))
    return float((means > needed).any(1).mean())
