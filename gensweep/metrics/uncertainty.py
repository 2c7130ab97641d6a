"""How sure is a Frechet distance?  What it would be for endless images, and an interval, from the images at hand.

Of the distance |mean - m|^2 + Tr S + Tr R - 2 Tr (S R)^1/2 only two parts are biased: |mean - m|^2, by Tr S / n, and
the last one, the sum of the roots of a spectrum that is seen through n images only (see `spectrum`).  That is corrected
to all orders of d / n for images whose features are a matrix times independent numbers, each image with a scale of its
own; what remains, of order 1 / n, goes by leaving out a tenth of the images in turn.  The variance is that of leaving
out each image, from the corrected distance to first order, which counts twice what is due to pairs of images, and so is
lessened by what pairs show of the plain one.  Of hardly more images than directions, or fewer, the correction is partly
a guess, which is a part of the variance instead, and images are left out of the plain distance.
Source: Silverstein 1995; El Karoui 2009 (scales); Quenouille 1956 (leaving out); Efron & Stein 1981 (the variance).

Shapes: n images, d features, r directions in which the reference varies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.frechet import factor
from gensweep.metrics.spectrum import Spectrum, centred

__all__ = ["LEAST", "NORMAL", "Estimate", "Target", "estimate_distance"]

#: With fewer images there is no estimate.
LEAST = 20
#: Standard errors on each side of a 95 % interval.
NORMAL = 1.959964
#: In so many parts images are left out, and so many pairs of images are looked at.
PARTS, PAIRS = 10, 2048
#: Of fewer images a direction no part can be left out, and so much of the correction counts as guessed.
SEEN, GUESSED = 1.25, 0.014
#: What is due to three images or more is among the pairs too, and grows with the directions an image, squared.
TRIPLES = 2 / 3
#: Of more images the bias that leaving out parts would take away is far below the error.
MANY = 4000


@dataclass(frozen=True)
class Estimate:
    """What n images say about the distance of the distribution that they are drawn from.

    `corrected` is without the bias of few images, and may be negative where the distance is about 0.  `influences` are
    one number an image: their mean is `corrected`, their scatter gives `error`.
    """

    corrected: float
    error: float
    influences: Float64[Tensor, " n"]

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval."""
        return self.corrected - NORMAL * self.error, self.corrected + NORMAL * self.error


class Target:
    """Mean and covariance of a reference, taken as they are: without an error of their own."""

    def __init__(self, mean: Float64[Tensor, " d"], covariance: Float64[Tensor, "d d"]) -> None:
        self.mean, self.covariance = mean, covariance

    @cached_property
    def factor(self) -> Float64[Tensor, "d r"]:
        """L with L L^T = covariance."""
        return factor(self.covariance)

    @cached_property
    def squares(self) -> Float64[Tensor, " r"]:
        """The squares of the covariance's positive eigenvalues: the spectrum of M for images like the reference."""
        squares: Tensor = torch.linalg.svdvals(self.factor).pow(4)
        return squares


def estimate_distance(features: Float[Tensor, "n d"], target: Target) -> Estimate:
    """The distance for endless images, with its standard error, from the features of independent ones.

    Raises GensweepError below `LEAST` images.
    """
    n = len(features)
    if n < LEAST:
        raise GensweepError(f"an interval needs at least {LEAST} images, but got {n}; raise the number of samples")
    sample = _Sample(features.to(target.mean), target)
    crowding = target.factor.shape[1] / n
    few = SEEN * crowding > 1
    corrected = sample.unbiased if few or n > MANY else _without_parts(sample)
    pseudo = (1 - n) * (sample.without_each if few else sample.changes)
    twice = float(pseudo.var()) / n
    if few:
        variance = twice + (GUESSED * (float(sample.distance) - corrected)) ** 2
    else:
        # Leaving out parts adds to the share of pairs, as it never sees those within one.  Of a distance near 0 all
        # is due to pairs, and half of the variance is one too many.
        counted = (1 - 1 / (PARTS - 1)) * (1 - TRIPLES * crowding**2)
        variance = max(twice - counted * sample.variance_of_pairs(), twice / 2)
    scale = (variance / twice) ** 0.5 if twice else 0.0
    influences = (pseudo - pseudo.mean()) * scale + corrected
    return Estimate(corrected, variance**0.5, influences.cpu())


def _without_parts(sample: _Sample) -> float:
    """The unbiased estimate, less the bias of order 1 / n that leaving out each part in turn shows."""
    parts = torch.arange(sample.n, device=sample.x.device) % PARTS
    rest = [_Sample(sample.x[parts != part], sample.target).unbiased for part in range(PARTS)]
    return PARTS * sample.unbiased - (PARTS - 1) * sum(rest) / PARTS


class _Sample:
    """Features and what the distance would be without some of them, exactly."""

    def __init__(self, x: Float64[Tensor, "n d"], target: Target) -> None:
        self.x, self.target, self.n = x, target, len(x)
        self.mean = x.mean(0)
        self.offset = self.mean - target.mean
        parts = [(rows.square().sum(1), rows @ self.offset) for rows in centred(x, self.mean)]
        self.squares = torch.cat([squares for squares, _ in parts])
        self.along = torch.cat([along for _, along in parts])
        self.far, self.scatter = self.offset.square().sum(), self.squares.sum()
        self.reference = target.covariance.trace()
        self.spectrum = Spectrum(x, self.mean, target.factor)

    @property
    def distance(self) -> Float64[Tensor, ""]:
        """The plain distance."""
        return self.far + self.scatter / (self.n - 1) + self.reference - 2 * self.spectrum.roots

    @property
    def unbiased(self) -> float:
        """Without the bias of the two parts that have one."""
        far = self.far - self.scatter / (self.n - 1) / self.n
        roots = self.spectrum.roots_of_population(self.target.squares)
        return float(far + self.scatter / (self.n - 1) + self.reference - 2 * roots)

    @cached_property
    def without_each(self) -> Float64[Tensor, " n"]:
        """The plain distance with one image left out, for each image."""
        n = self.n
        far = self.far - 2 * self.along / (n - 1) + self.squares / (n - 1) ** 2
        trace = (self.scatter - self.squares * (n / (n - 1))) / (n - 2)
        return far + trace + self.reference - 2 * self.spectrum.roots_without_each

    @property
    def changes(self) -> Float64[Tensor, " n"]:
        """To first order, the unbiased distance with one image left out, but for what is common to all."""
        n = self.n
        scatter = self.scatter - self.squares * (n / (n - 1))
        far = self.far - 2 * self.along / (n - 1) + self.squares / (n - 1) ** 2 - scatter / (n - 2) / (n - 1)
        return far + scatter / (n - 2) - 2 * self.spectrum.changes_of_population()

    def variance_of_pairs(self) -> float:
        """The part of the distance's variance that is due to pairs of images, from some pairs at random.

        Source: Efron & Stein 1981, eq. 4.1 to 4.4.
        """
        n, generator = self.n, torch.Generator().manual_seed(0)
        i = torch.randint(n, (PAIRS,), generator=generator).to(self.x.device)
        j = (i + 1 + torch.randint(n - 1, (PAIRS,), generator=generator).to(i)) % n
        inner = ((self.x[i] - self.mean) * (self.x[j] - self.mean)).sum(1)
        squares = self.squares[i] + self.squares[j] + 2 * inner
        far = self.far - 2 * (self.along[i] + self.along[j]) / (n - 2) + squares / (n - 2) ** 2
        trace = (self.scatter - self.squares[i] - self.squares[j] - squares / (n - 2)) / (n - 3)
        without = far + trace + self.reference - 2 * self.spectrum.roots_without_both(i, j)
        together = n * self.distance - (n - 1) * (self.without_each[i] + self.without_each[j]) + (n - 2) * without
        return float(together.var()) / 2
