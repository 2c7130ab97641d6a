"""Frechet distance without the bias of few images, and its confidence interval.

docs/metrics.md explains the method.  Two terms of |mean - m|^2 + Tr S + Tr R - 2 Tr (S R)^1/2 are biased when mean
and S come from n images: the first by Tr S / n, and the last, a sum of square roots of estimated eigenvalues (see
`spectrum`).  The variance is that of the jackknife over single images.  It counts the variance due to pairs of images
twice; one of the two is estimated from random pairs and subtracted.
Source: Silverstein 1995; El Karoui 2009 (scales); Quenouille 1956 (leaving out); Efron & Stein 1981 (the variance);
Wilson 1927 (the variance at each value that an interval may hold); Hall 1992, section 2.6 (skewed estimates);
Box 1954 (a sum of squares as a gamma distribution).

Shapes: n images, d features, r directions in which the reference varies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.frechet import factor
from gensweep.metrics.spectrum import Spectrum, centred
from gensweep.noise import Noise
from gensweep.results import STANDARD_ERRORS

#: Smallest number of images for an estimate.
MIN_IMAGES = 20
#: Number of parts of the images that the jackknife leaves out in turn.
JACKKNIFE_PARTS = 10
#: Random pairs of images for estimating the variance due to pairs.
SAMPLED_PAIRS = 2048
#: Images per direction that the jackknife needs: without a part there must still be more images than directions.
MIN_IMAGES_PER_DIRECTION = 1.25
#: With fewer images the correction is partly a guess, checked by halving them this number of times.
GUESS_HALVINGS = 2
#: TRIPLES_SHARE (r / n)^2 of the variance of pairs is due to three or more images, and is not counted twice.
TRIPLES_SHARE = 2 / 3
#: With more images, the bias that the jackknife removes is far below the standard error.
MAX_JACKKNIFE_IMAGES = 4000


@dataclass(frozen=True)
class Estimate:
    """Distance of the distribution from which n images were drawn.

    `corrected` is without the bias of few images, and may be negative near 0; `error` is its standard error, and `low`
    and `high` are its 95 % interval.  With fewer than `needed` images it is partly guessed.  `influences` has one
    number per image: their mean is `corrected`, and their variance n `error`^2.
    """

    corrected: float
    error: float
    low: float
    high: float
    needed: int
    influences: Float64[Tensor, " n"]


class Target:
    """Mean and covariance of a reference, treated as exact."""

    def __init__(self, mean: Float64[Tensor, " d"], covariance: Float64[Tensor, "d d"]) -> None:
        self.mean, self.covariance = mean, covariance

    @cached_property
    def factor(self) -> Float64[Tensor, "d r"]:
        """L with L L^T = covariance."""
        return factor(self.covariance)

    @cached_property
    def squares(self) -> Float64[Tensor, " r"]:
        """Squared positive eigenvalues of the covariance: the eigenvalues of M for images like the reference."""
        squares: Tensor = torch.linalg.svdvals(self.factor).pow(4)
        return squares


def estimate_distance(features: Float[Tensor, "n d"], target: Target) -> Estimate:
    """Distance for infinitely many images, with its standard error, from features of independent images.

    Raises GensweepError below `MIN_IMAGES` images.
    """
    n = len(features)
    if n < MIN_IMAGES:
        raise GensweepError(f"an interval needs at least {MIN_IMAGES} images, but got {n}; raise the number of samples")
    sample, directions = _Sample(features.to(target.mean), target), target.factor.shape[1]
    needed = math.ceil(MIN_IMAGES_PER_DIRECTION * directions)
    found = _guessed(sample) if n < needed else _measured(sample, directions / n)
    low, high = _interval(found, float(sample.distance) - found.value)
    # Distances are not negative: if the estimate is, use the error of a distance of 0.
    error = math.sqrt(found.above_0 if found.value > 0 else found.variance_at_0)
    spread = math.sqrt(float(found.influences.var()) / n)
    influences = found.influences * (error / spread if spread else 0.0) + found.value
    return Estimate(found.value, error, low, high, needed, influences.cpu())


class _Corrected(NamedTuple):
    """An estimate, the images' influences, its variance with slope, and its variance at 0.

    The variance may be negative by chance; then the one at 0 applies.
    """

    value: float
    influences: Float64[Tensor, " n"]
    variance: float
    slope: float
    variance_at_0: float

    @property
    def above_0(self) -> float:
        """Variance of an estimate, at least the part due to pairs."""
        return max(self.variance, self.variance_at_0)


def _measured(sample: _Sample, crowding: float) -> _Corrected:
    """Estimate from enough images; crowding = r / n."""
    n, value, influences = sample.n, sample.unbiased, sample.influences(sample.changes)
    # A distance near 0 is due only to pairs: all of its variance is counted twice.
    counted = 1 - TRIPLES_SHARE * crowding**2
    if n <= MAX_JACKKNIFE_IMAGES:
        parts = _parts(sample.x, JACKKNIFE_PARTS)
        rest = [_Sample(sample.x[parts != part], sample.target).unbiased for part in range(JACKKNIFE_PARTS)]
        value = JACKKNIFE_PARTS * value - (JACKKNIFE_PARTS - 1) * sum(rest) / JACKKNIFE_PARTS
        counted *= 1 - 1 / (JACKKNIFE_PARTS - 1)  # pairs within a part are left out together
    pairs = sample.pairs()
    variance = float(influences.var()) / n - counted * pairs.variance
    return _Corrected(value, influences, variance, pairs.variance_slope(influences), pairs.variance)


def _guessed(sample: _Sample) -> _Corrected:
    """Estimate from too few images; the effect of halving them is an additional error."""
    value, influences = sample.unbiased, sample.influences(sample.without_each)
    bias = 0.0
    for halving in range(GUESS_HALVINGS):
        second = _parts(sample.x, 2, halving).bool()
        halves = [_Sample(sample.x[half], sample.target).unbiased for half in (~second, second)]
        bias += (sum(halves) / 2 - value) ** 2 / GUESS_HALVINGS
    variance = float(influences.var()) / sample.n + bias
    return _Corrected(value, influences, variance, 0.0, variance)


def _parts(x: Float64[Tensor, "n d"], count: int, stream: int = 0) -> Int[Tensor, " n"]:
    """Part of each image among `count` equal parts: random but fixed."""
    drawn = Noise(0, torch.arange(len(x), device=x.device)).uniform(stream=stream)
    return drawn.argsort(stable=True) % count


def _interval(found: _Corrected, bias: float) -> tuple[float, float]:
    """95 % interval of a distance; `bias` is that of the plain distance.

    An end is a distance F with |estimate - skew - F|^2 = z^2 V(F), where z = 1.96 and V(F) is the variance at F.  The
    skew is the third cumulant over the variance, times (z^2 - 1) / 6.
    """
    slope, at_0, cumulants = found.slope, found.variance_at_0, (STANDARD_ERRORS**2 - 1) / 6
    reach, centre = STANDARD_ERRORS * math.sqrt(at_0), found.value - cumulants * slope
    if centre <= reach:  # images like the reference may give this estimate
        # The third cumulant over the variance of a gamma distribution of mean `bias` and this variance.
        lower_tail = min(slope, 2 * at_0 / bias) if bias > 0 else slope
        upper = found.value - cumulants * lower_tail
        return centre - reach, _end(upper, at_0, slope, 1) if upper > -reach else upper + reach
    at_estimate, rise = found.above_0 - slope * found.value, (found.above_0 - at_0) / found.value
    # If V is linear between 0 and the estimate, the interval does not contain 0.
    low = max(_end(centre, at_estimate, slope, -1), _end(centre, at_0, rise, -1))
    return low, _end(centre, at_estimate, slope, 1)


def _end(centre: float, intercept: float, slope: float, sign: int) -> float:
    """The lower or upper F with (centre - F)^2 = z^2 (intercept + slope F)."""
    shift = STANDARD_ERRORS**2 * slope / 2
    return centre + shift + sign * math.sqrt(STANDARD_ERRORS**2 * (intercept + slope * centre) + shift**2)


@dataclass(frozen=True)
class _Pairs:
    """Random pairs of images i and j, and each pair's contribution beyond that of its two images.

    With F(S) = F + mean_i phi(i) + mean_ij psi(i, j) / 2 over the images of S, `together` is psi(i, j) / n.
    """

    i: Int[Tensor, " p"]
    j: Int[Tensor, " p"]
    together: Float64[Tensor, " p"]

    @property
    def variance(self) -> float:
        """Part of the distance's variance due to pairs.  Source: Efron & Stein 1981, eq. 4.1 to 4.4."""
        return float(self.together.var()) / 2

    def variance_slope(self, influences: Float64[Tensor, " n"]) -> float:
        """Slope of the variance in the distance, from the influences phi, of mean 0.

        The influence of image i on the variance mean phi^2 / n is [phi_i^2 + 2 mean_j phi_j psi_ij] / n, up to a
        constant; the slope is that of its regression on phi_i.  Source: Hall 1992, section 2.6, for smooth functions.
        """
        spread = float(influences.square().mean())
        if not spread:
            return 0.0
        cubes = float(influences.pow(3).mean()) / len(influences)
        crossed = influences[self.i] * influences[self.j] * (self.together - self.together.mean())
        return (cubes + 2 * float(crossed.mean())) / spread


class _Sample:
    """Features, and the exact distance without some images."""

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
        """The distance with its two biased terms corrected."""
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
        """First-order unbiased distance with one image left out, up to a common constant."""
        n = self.n
        scatter = self.scatter - self.squares * (n / (n - 1))
        far = self.far - 2 * self.along / (n - 1) + self.squares / (n - 1) ** 2 - scatter / (n - 2) / (n - 1)
        return far + scatter / (n - 2) - 2 * self.spectrum.changes_of_population()

    def influences(self, without: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Influence of each image on a distance, given the distances without each; their mean is 0."""
        return (self.n - 1) * (without.mean() - without)

    def pairs(self) -> _Pairs:
        """Random pairs of images, for the plain distance."""
        n, generator = self.n, torch.Generator().manual_seed(0)
        i = torch.randint(n, (SAMPLED_PAIRS,), generator=generator).to(self.x.device)
        j = (i + 1 + torch.randint(n - 1, (SAMPLED_PAIRS,), generator=generator).to(i)) % n
        inner = ((self.x[i] - self.mean) * (self.x[j] - self.mean)).sum(1)
        squares = self.squares[i] + self.squares[j] + 2 * inner
        far = self.far - 2 * (self.along[i] + self.along[j]) / (n - 2) + squares / (n - 2) ** 2
        trace = (self.scatter - self.squares[i] - self.squares[j] - squares / (n - 2)) / (n - 3)
        without = far + trace + self.reference - 2 * self.spectrum.roots_without_both(i, j)
        together = n * self.distance - (n - 1) * (self.without_each[i] + self.without_each[j]) + (n - 2) * without
        return _Pairs(i, j, together)
