"""What n images tell of a spectrum: the eigenvalues of M = L^T S L, where S is the covariance of their features.

Roots of eigenvalues are summed as integrals over a logarithmic grid of points t, since
Tr A^1/2 = 1/pi int Tr A (A + t)^-1 t^-1/2 dt, and leaving out an image changes a determinant at each t.

Shapes: n images, d features, r directions in which the reference varies, k seen ones, j points t, p pairs of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from gensweep.metrics.eigen import symmetric_eigen

__all__ = ["ROWS", "Spectrum", "centred"]

#: Images that are looked at at once; bounds the memory.
ROWS = 4096
#: The integrals are sums over log t, from so far below the least eigenvalue to so far above the largest: exact to 1e-8.
BELOW, ABOVE, STEP = 40.0, 44.0, 1.0
#: What is left of 1 after rounding.
ROUNDING = 1e-10


class Leverages(NamedTuple):
    """What each image y counts for among all, at each t: with R = (A + t)^-1, A the scatter of all images.

    `held` is h = y^T R y, from 0 to 1, and `left` is 1 - h; `once` is t y^T R^2 y, and `twice` t^2 y^T R^3 y.  `others`
    is the sum over all other images x of (y^T R x)^2: how much of an image they show too.
    """

    held: Float64[Tensor, "n j"]
    left: Float64[Tensor, "n j"]
    once: Float64[Tensor, "n j"]
    twice: Float64[Tensor, "n j"]
    others: Float64[Tensor, "n j"]


class Spectrum:
    """The positive eigenvalues of M in a sample of features x, and what leaving out images does to their roots."""

    def __init__(self, x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"], factor: Float64[Tensor, "d r"]) -> None:
        self.count = len(x)
        self._x, self._mean = x, mean
        self.eigenvalues, self._vectors = _decomposed(x, mean, factor)
        self._few = len(x) <= factor.shape[1]
        self.roots = self.eigenvalues.sqrt().sum()
        if not len(self.eigenvalues):
            return
        logs = self.eigenvalues.log()
        grid = torch.arange(float(logs.min()) - BELOW, float(logs.max()) + ABOVE, STEP, dtype=x.dtype, device=x.device)
        self.t = grid.exp()
        self._kept = self.eigenvalues[:, None] / (self.eigenvalues[:, None] + self.t)
        self._lost = self.t / (self.eigenvalues[:, None] + self.t)
        self._weights = self.t.sqrt() * (STEP / (2 * math.pi))
        self.freedom, self.slope = self._kept.sum(0), (self._kept * self._lost).sum(0)

    @cached_property
    def _leverages(self) -> Leverages:
        n, parts = self.count, []
        kept, lost = self._kept, self._lost
        for start in range(0, n, ROWS):
            share = self._whitened(slice(start, start + ROWS)).square() * (n / (n - 1))
            unseen = 1 - share.sum(1, keepdim=True)
            unseen = unseen * (unseen > ROUNDING)
            held, left = share @ kept, _at_least_tiny(unseen + share @ lost)
            # Each form keeps its digits where the other loses them.
            others = torch.where(held < 0.5, share @ kept**2 - held**2, unseen + share @ lost**2 - left**2)
            parts.append(Leverages(held, left, share @ (kept * lost), share @ (kept * lost**2), others.clamp(min=0)))
        return Leverages(*(torch.cat(each) for each in zip(*parts, strict=True)))

    @cached_property
    def _changes(self) -> Float64[Tensor, " n"]:
        """By how much the sum of the roots changes without each image, at the same divisor.

        Tr (A - y y^T)^1/2 - Tr A^1/2 = 1/(2 pi) int log(1 - h) t^-1/2 dt.
        """
        held, left, *_ = self._leverages
        return torch.where(held < 0.5, torch.log1p(-held.clamp(max=0.5)), left.log()) @ self._weights

    @cached_property
    def _odds(self) -> Float64[Tensor, " j"]:
        """The mean of h / (1 - h)."""
        return (self._leverages.held / self._leverages.left).mean(0)

    @property
    def roots_without_each(self) -> Float64[Tensor, " n"]:
        """The sum of the eigenvalues' roots if one image is left out, for each image, exactly."""
        if not len(self.eigenvalues):
            return self.roots.expand(self.count)
        return (self.roots + self._changes) * math.sqrt((self.count - 1) / (self.count - 2))

    def roots_without_both(self, i: Int[Tensor, " p"], j: Int[Tensor, " p"]) -> Float64[Tensor, " p"]:
        """The same if two images are left out, for each pair, exactly; i and j differ."""
        if not len(self.eigenvalues):
            return self.roots.expand(len(i))
        n = self.count
        first, second = self._whitened(i), self._whitened(j)
        both = (first * second).sum(1, keepdim=True) + 1 / n
        shared = -both * (both.abs() > ROUNDING) + (first * second) @ self._lost
        cosine = shared.square() / (self._left(first) * self._left(second))
        # (1 + 1 / (n (n - 2))) (1 - cosine) is the determinant for both over the product of those for each.
        joint = torch.log1p(-(cosine - (1 - cosine) / (n * (n - 2))).clamp(max=1 - 1e-15)) @ self._weights
        changes = self._changes
        return (self.roots + changes[i] + changes[j] + joint) * math.sqrt((n - 1) / (n - 3))

    def roots_of_population(self, reference: Float64[Tensor, " r"]) -> Float64[Tensor, ""]:
        """The sum of the roots of M's eigenvalues in the population: 1/pi int N(u) u^-1/2 du, by parts.

        The degrees of freedom N(t) = Tr M (M + t)^-1 of the sample are those of the population at a larger u, which the
        leverages tell: u = t q / N, q the mean of h / (1 - h).  Fewer images than features cannot see below some u:
        there N is taken in the shape of the `reference`, M's eigenvalues for images like the reference.
        """
        if not len(self.eigenvalues):
            return self.roots
        total = (self._u.sqrt() * self.slope).sum() * (2 * STEP / math.pi)
        return total + self._below(reference)

    def changes_of_population(self) -> Float64[Tensor, " n"]:
        """To first order, what leaving out each image changes in `roots_of_population`, but for what is common to all.

        It is in N, in its slope, and in q, where an image counts itself and takes leverage from the others: from each
        as much as that and the image are seen by others, as if pairs came about by chance.
        """
        if not len(self.eigenvalues):
            return self.roots.new_zeros(self.count)
        held, left, once, twice, others = self._leverages
        weight = (others / left**2).sum(0) / _at_least_tiny(others.sum(0))
        odds = (self._odds - held / left + weight * others / left) / (self.count - 1)
        freedom, slope = -once / left, (once - 2 * twice) / left - (once / left) ** 2
        u = odds / self._odds - freedom / self.freedom
        return (u * self.slope / 2 + slope) @ self._u.sqrt() * (2 * STEP / math.pi)

    @cached_property
    def _u(self) -> Float64[Tensor, " j"]:
        return self.t * self._odds * (self.count - 1) / self.freedom

    def _below(self, reference: Float64[Tensor, " r"]) -> Float64[Tensor, ""]:
        """What lies below the least u, if anything does."""
        least, wanted = self._u[0], self.freedom[0]
        # Where u stays above 0 there are too few images to see what is below, unless the reference has nothing there.
        if least < 1000 * self.t[0] or float(wanted) >= len(reference):
            return torch.zeros_like(least)
        scale = _ridge(reference, float(wanted))
        below = (reference.sqrt() * (scale / reference).sqrt().atan()).sum() - wanted * math.sqrt(scale)
        return below * (least / scale).sqrt() * (2 / math.pi)

    def _whitened(self, rows: slice | Int[Tensor, " b"]) -> Float64[Tensor, "b k"]:
        """Images along the seen directions; over all images each direction has length 1."""
        if self._few:
            return self._vectors[rows]
        scale = (self.eigenvalues * (self.count - 1)).sqrt()
        return (self._x[rows] - self._mean) @ self._vectors / scale

    def _left(self, whitened: Float64[Tensor, "p k"]) -> Float64[Tensor, "p j"]:
        squares = whitened.square()
        unseen = 1 - 1 / self.count - squares.sum(1, keepdim=True)
        return _at_least_tiny(unseen * (unseen > ROUNDING) + squares @ self._lost)


def centred(x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"]) -> Iterator[Float64[Tensor, "b d"]]:
    """The rows less their mean, some at a time."""
    for rows in torch.split(x, ROWS):
        yield rows - mean


def _decomposed(
    x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"], factor: Float64[Tensor, "d r"]
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, "d k"] | Float64[Tensor, "n k"]]:
    """The positive eigenvalues of M; what turns features towards them or, of no more images than r, these turned."""
    n, r = len(x), factor.shape[1]
    if n <= r:
        y = (x - mean) @ factor
        eigenvalues, vectors = symmetric_eigen(y @ y.T / (n - 1))
        kept = _positive(eigenvalues)
        return eigenvalues[kept], vectors[:, kept]
    m = x.new_zeros(r, r)
    for rows in centred(x, mean):
        y = rows @ factor
        m.addmm_(y.T, y)
    eigenvalues, vectors = symmetric_eigen(m / (n - 1))
    kept = _positive(eigenvalues)
    return eigenvalues[kept], factor @ vectors[:, kept]


def _at_least_tiny(x: Float64[Tensor, "..."]) -> Float64[Tensor, "..."]:
    return x.clamp(min=torch.finfo(x.dtype).tiny)


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
