"""How sure is a Frechet distance?  What it would be for endless images, and an interval, from the images at hand.

Of the distance |mean - m|^2 + Tr S + Tr R - 2 Tr (S R)^1/2 only two parts are biased: |mean - m|^2, by Tr S / n, and
the last one, the sum of the roots of the eigenvalues of M = L^T S L, where the reference's covariance is R = L L^T.  So
the roots of a spectrum have to be found that is seen through n images only.  Their sum is
1/pi int N(u) u^-1/2 du with the degrees of freedom N(u) = Tr M (M + u)^-1, and the N of the sample at t is that of the
population at a larger u, which the leverages of the images tell: u = t q / N, q the mean of h / (1 - h).  That is exact
to all orders of d / n for images whose features are a matrix times independent numbers, each image with a scale of its
own.  Fewer images than features cannot see below some u: there N is taken in the shape of the reference's.
Source: Silverstein 1995; El Karoui 2009 (scales); Efron & Stein 1981 (the variance).

Shapes: n images, d features, r directions in which the reference varies, k seen ones, j points t.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.frechet import factor

__all__ = ["LEAST", "NORMAL", "Estimate", "Target", "estimate_distance"]

#: With fewer images there is no estimate.
LEAST = 4
#: Standard errors on each side of a 95 % interval.
NORMAL = 1.959964
#: Images that are looked at at once; bounds the memory.
ROWS = 4096
#: The integrals are sums over log t, from so far below the least eigenvalue to so far above the largest: exact to 1e-8.
BELOW, ABOVE, STEP = 40.0, 44.0, 1.0
#: What is left of 1 after rounding.
ROUNDING = 1e-10


@dataclass(frozen=True)
class Estimate:
    """What n images say about the distance of the distribution that they are drawn from.

    `corrected` is without the bias of few images, and may be negative where the distance is about 0.  `influences` are
    the jackknife's pseudo-values, one an image: their mean is about `corrected`, their scatter gives `error`.
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
    x = features.to(target.mean)
    mean = x.mean(0)
    offset = mean - target.mean
    far, reference = offset.square().sum(), target.covariance.trace()
    squares, along = _lengths(x, mean, offset)
    trace = squares.sum() / (n - 1)
    seen = _Seen(x, mean, target.factor)
    left_mean = far - 2 * along / (n - 1) + squares / (n - 1) ** 2
    left_trace = ((n - 1) * trace - squares * (n / (n - 1))) / (n - 2)
    without = left_mean + left_trace + reference - 2 * seen.roots_without_each
    whole = far + trace + reference - 2 * seen.roots
    corrected = far - trace / n + trace + reference - 2 * seen.roots_of_population(target)
    influences = n * whole - (n - 1) * without
    error = influences.var().div(n).sqrt()
    return Estimate(float(corrected), float(error), influences.cpu())


def _lengths(
    x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"], offset: Float64[Tensor, " d"]
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Of each image's features less their mean: the squared length, and the product with the offset."""
    parts = [(rows.square().sum(1), rows @ offset) for rows in _centred(x, mean)]
    return torch.cat([squares for squares, _ in parts]), torch.cat([along for _, along in parts])


def _centred(x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"]) -> Iterator[Float64[Tensor, "b d"]]:
    for rows in torch.split(x, ROWS):
        yield rows - mean


class _Seen:
    """The spectrum of M in the sample: its eigenvalues, and what the images tell at points t of a logarithmic grid."""

    def __init__(self, x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"], factor: Float64[Tensor, "d r"]) -> None:
        self.count = n = len(x)
        self.eigenvalues, shares = _spectrum(x, mean, factor)
        self.roots = self.eigenvalues.sqrt().sum()
        if not len(self.eigenvalues):
            return
        logs = self.eigenvalues.log()
        grid = torch.arange(float(logs.min()) - BELOW, float(logs.max()) + ABOVE, STEP, dtype=x.dtype, device=x.device)
        self.t = grid.exp()
        kept = self.eigenvalues[:, None] / (self.eigenvalues[:, None] + self.t)
        lost = self.t / (self.eigenvalues[:, None] + self.t)
        self.freedom, self.slope = kept.sum(0), (kept * lost).sum(0)
        odds, logs_left = torch.zeros_like(self.t), []
        for share in shares:
            share = share * (n / (n - 1))  # of the n - 1 directions that the mean leaves
            unseen = 1 - share.sum(1, keepdim=True)
            left = (unseen * (unseen > ROUNDING) + share @ lost).clamp(min=torch.finfo(x.dtype).tiny)
            held = share @ kept
            odds += (held / left).sum(0)
            # Each form keeps its digits where the other loses them.
            logs = torch.where(held < 0.5, torch.log1p(-held.clamp(max=0.5)), left.log())
            logs_left.append(logs @ self.t.sqrt() * (STEP / (2 * math.pi)))
        self.changes = torch.cat(logs_left)
        self.u = self.t * odds * ((n - 1) / n) / self.freedom

    @property
    def roots_without_each(self) -> Float64[Tensor, " n"]:
        """The sum of the eigenvalues' roots if one image is left out, for each image, exactly.

        Tr (A - y y^T)^1/2 - Tr A^1/2 = 1/(2 pi) int log(1 - y^T (A + t)^-1 y) t^-1/2 dt.
        """
        if not len(self.eigenvalues):
            return self.roots.expand(self.count)
        return (self.roots + self.changes) * math.sqrt((self.count - 1) / (self.count - 2))

    def roots_of_population(self, target: Target) -> Float64[Tensor, ""]:
        """The sum of the roots of the eigenvalues of M in the population: 1/pi int N(u) u^-1/2 du, by parts."""
        if not len(self.eigenvalues):
            return self.roots
        total = (self.u.sqrt() * self.slope).sum() * (2 * STEP / math.pi)
        least, wanted, spectrum = self.u[0], self.freedom[0], target.squares
        # Where u stays above 0 there are too few images to see what is below, unless the reference has nothing there.
        if least < 1000 * self.t[0] or float(wanted) >= len(spectrum):
            return total
        scale = _ridge(spectrum, float(wanted))
        below = (spectrum.sqrt() * (scale / spectrum).sqrt().atan()).sum() - wanted * math.sqrt(scale)
        return total + below * (least / scale).sqrt() * (2 / math.pi)


def _spectrum(
    x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"], factor: Float64[Tensor, "d r"]
) -> tuple[Float64[Tensor, " k"], Iterator[Float64[Tensor, "b k"]]]:
    """The positive eigenvalues of M, and of some images at a time their share in each, which adds up to 1."""
    n, r = len(x), factor.shape[1]
    if n <= r:
        y = (x - mean) @ factor
        eigenvalues, vectors = torch.linalg.eigh(y @ y.T / (n - 1))
        kept = _positive(eigenvalues)
        return eigenvalues[kept], iter(torch.split(vectors[:, kept].square(), ROWS))
    m = x.new_zeros(r, r)
    for rows in _centred(x, mean):
        y = rows @ factor
        m.addmm_(y.T, y)
    eigenvalues, vectors = torch.linalg.eigh(m / (n - 1))
    kept = _positive(eigenvalues)
    eigenvalues, turned = eigenvalues[kept], factor @ vectors[:, kept]
    return eigenvalues, ((rows @ turned).square() / eigenvalues / (n - 1) for rows in _centred(x, mean))


def _positive(eigenvalues: Float64[Tensor, " k"]) -> Tensor:
    """Which are not rounding errors; numpy's threshold for a `matrix_rank`."""
    largest = eigenvalues.max().clamp(min=0)
    return eigenvalues > largest * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps


def _ridge(spectrum: Float64[Tensor, " r"], freedom: float) -> float:
    """The u at which a spectrum has so many degrees of freedom, less than it has eigenvalues."""
    low, high = math.log(float(spectrum.min())) - 40, math.log(float(spectrum.max())) + 40
    for _ in range(60):
        middle = (low + high) / 2
        if float((spectrum / (spectrum + math.exp(middle))).sum()) > freedom:
            low = middle
        else:
            high = middle
    return math.exp(low)
