"""Do the bands hold the truth?  Counted on made-up populations of configurations, whose truth is known.

Shapes: r repeats, n configurations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from gensweep.verdict.expected_best import MIN_CONFIGURATIONS, BestOfK, best_of_k

Draw = Callable[[np.random.Generator, tuple[int, int]], Float64[ndarray, "r n"]]

#: Searches of which the mean best score is taken for the truth.
SEARCHES_FOR_TRUTH = 200_000


def _two_kinds(good: float) -> Draw:
    """Configurations of which a share is good: 50 +- 6, and the others 100 +- 10."""
    return lambda rng, shape: np.where(rng.random(shape) < good, rng.normal(50, 6, shape), rng.normal(100, 10, shape))


#: How scores of random configurations may be distributed; smaller is better.
POPULATIONS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(100, 15, shape),
    "lognormal": lambda rng, shape: 80 * np.exp(rng.normal(0, 0.5, shape)),
    "skewed, tail of bad ones": lambda rng, shape: 40 + rng.gamma(2, 20, shape),
    "skewed, tail of good ones": lambda rng, shape: 20 + 100 * rng.beta(4, 1.5, shape),
    "mixture, half is good": _two_kinds(0.5),
    "mixture, 30 % are good": _two_kinds(0.3),
    "mixture, 70 % are good": _two_kinds(0.7),
}


@dataclass(frozen=True)
class BandCoverage:
    """How often the band held the `truth`, in per cent, and by how much estimates were too bad on average, in per cent.

    `below` and `above` are the shares of repeats, in per cent, in which the truth lay on that side of the band.
    """

    truth: float
    covered: float
    bias: float
    below: float
    above: float


def training_coverage(
    draw: Draw, n: int, k: int, repeats: int, rng: np.random.Generator, *, error: float = 0.0, failing: float = 0.0
) -> BandCoverage:
    """The best of k configurations, of which n were trained; scores have a standard error of that share of them.

    The share `failing` fails, and scores the worst of the others; in the truth, what that is on average.  As many must
    have a score as a band takes.
    """
    true = draw(rng, (repeats, n))
    scores, failed = true * (1 + error * rng.standard_normal(true.shape)), rng.random(true.shape) < failing
    worst = np.where(failed, -np.inf, scores).max(1, keepdims=True)
    tries = draw(rng, (SEARCHES_FOR_TRUTH, k))
    tries[rng.random(tries.shape) < failing] = worst[np.isfinite(worst)].mean()
    shown = np.sum(~failed, 1) >= min(n, MIN_CONFIGURATIONS)
    scores, failed = np.where(failed, worst, scores)[shown], failed[shown]
    found = best_of_k(scores, k, variances=np.square(error * scores), failed=failed)
    return _counted(found, float(tries.min(1).mean()))


def _counted(best: BestOfK, truth: float) -> BandCoverage:
    low, high = best.band
    below, above = 100 * float((truth < low).mean()), 100 * float((truth > high).mean())
    bias = 100 * (float(best.value.mean()) / truth - 1)
    return BandCoverage(truth, 100 - below - above, bias, below, above)
