"""How much generated images differ from each other, compared with real ones."""

from __future__ import annotations

from typing import NamedTuple

from gensweep.metrics.moments import Moments


class Variation(NamedTuple):
    """How features vary: their total variance, and how much of it lies in few directions.

    `concentration` is Tr S^2 / (Tr S)^2 of their covariance S: 1 in a single direction, 1/k spread evenly over k.
    """

    variance: float
    concentration: float


def variation(moments: Moments) -> Variation:
    """The variation of at least 2 features, by estimates that few images do not bias; alike features have none.

    With N = count - 1, Tr S^2 is estimated by N^2 / ((N - 1)(N + 2)) (Tr S^2 - (Tr S)^2 / N), exact for Gaussians.
    Raises GensweepError below 2 features.  Source: Srivastava 2005, "Some tests concerning the covariance matrix".
    """
    covariance, n = moments.covariance, moments.count - 1
    variance = max(0.0, float(covariance.trace()))
    if n < 2 or not variance:
        return Variation(variance, 0.0)
    squared = (float(covariance.square().sum()) - variance**2 / n) * n**2 / ((n - 1) * (n + 2))
    return Variation(variance, max(0.0, squared / variance**2))


def diversity(generated: Variation, reference: Variation) -> float:
    """From 0, all images alike, to 1, as diverse as the reference.

    It is the smaller of two ratios to the reference: that of the variances, which are half the mean squared distance
    of two images, and that of the numbers of directions, 1 / concentration.  The first falls if all images are nearly
    the same, the second also if they are a few that differ, such as one for each class.
    """
    if not reference.variance:
        return 1.0
    spread = min(1.0, generated.variance / reference.variance)
    if generated.concentration <= reference.concentration:
        return spread
    return min(spread, reference.concentration / generated.concentration)
