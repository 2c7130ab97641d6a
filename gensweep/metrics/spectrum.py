"""Eigenvalues of M = L^T S L, estimated from n images; S is the covariance of their features.

The sum of their roots is an integral, Tr A^1/2 = 1/pi int Tr A (A + t)^-1 t^-1/2 dt, computed on a logarithmic grid of
points t.  Leaving out an image changes a determinant at each t.

Shapes: n images, d features, r directions in which the reference varies, k of these in which the images vary too, j
points t, p pairs of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from gensweep.metrics.frechet import positive_eigen

#: Images that are whitened at a time; bounds the memory.
SPECTRUM_BATCH = 4096
#: The grid of log t begins this far below the log of the least eigenvalue ...
LOG_T_BELOW = 40.0
#: ... ends this far above that of the largest ...
LOG_T_ABOVE = 44.0
#: ... and has this step: the sums are the integrals to 1e-8.
LOG_T_STEP = 1.0
#: Differences from 1 up to this are rounding, and count as 0.
UNSEEN_ROUNDING = 1e-10


class Leverages(NamedTuple):
    """The leverage h = y^T R y of each image y at each t, with R = (A + t)^-1 and A the scatter of all images.

    `held` is h, from 0 to 1, and `left` is 1 - h.
    """

    held: Float64[Tensor, "n j"]
    left: Float64[Tensor, "n j"]


class Derivatives(NamedTuple):
    """How leverages vary with t: `once` is t y^T R^2 y, and `twice` t^2 y^T R^3 y.

    `others` is the sum of (y^T R x)^2 over all other images x.
    """

    once: Float64[Tensor, "n j"]
    twice: Float64[Tensor, "n j"]
    others: Float64[Tensor, "n j"]


class Spectrum:
    """Positive eigenvalues of M in a sample of features x, and the effect of leaving out images on their roots."""

    def __init__(self, x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"], factor: Float64[Tensor, "d r"]) -> None:
        self.count = len(x)
        self._x, self._mean = x, mean
        self.eigenvalues, self._vectors = _decomposed(x, mean, factor)
        self._few = len(x) <= factor.shape[1]
        self.roots = self.eigenvalues.sqrt().sum()
        # Eigenvalues are in ascending order; without any, all integrals are empty.
        logs = self.eigenvalues.log()
        ends = (float(logs[0]) - LOG_T_BELOW, float(logs[-1]) + LOG_T_ABOVE) if len(logs) else (0.0, 0.0)
        self.t = torch.arange(*ends, LOG_T_STEP, dtype=x.dtype, device=x.device).exp()
        self._kept = self.eigenvalues[:, None] / (self.eigenvalues[:, None] + self.t)
        self._lost = self.t / (self.eigenvalues[:, None] + self.t)
        self._weights = self.t.sqrt() * (LOG_T_STEP / (2 * math.pi))
        self.freedom, self.slope = self._kept.sum(0), (self._kept * self._lost).sum(0)

    @cached_property
    def _leverages(self) -> Leverages:
        parts = [
            Leverages(share @ self._kept, _at_least_tiny(unseen + share @ self._lost))
            for share, unseen in self._shares()
        ]
        return Leverages(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _derivatives(self) -> Derivatives:
        kept, lost = self._kept, self._lost
        parts, start = [], 0
        for share, unseen in self._shares():
            held, left = (each[start : start + len(share)] for each in self._leverages)
            # Each form is accurate where the other is not.
            others = torch.where(held < 0.5, share @ kept**2 - held**2, unseen + share @ lost**2 - left**2)
            parts.append(Derivatives(share @ (kept * lost), share @ (kept * lost**2), others.clamp(min=0)))
            start += len(share)
        return Derivatives(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _shares(self) -> Iterator[tuple[Float64[Tensor, "b k"], Float64[Tensor, "b 1"]]]:
        """Share of each coordinate in an image's leverage at t = 0, and the rest up to 1, in chunks."""
        for start in range(0, self.count, SPECTRUM_BATCH):
            whitened = self._whitened(slice(start, start + SPECTRUM_BATCH))
            share = whitened.square() * (self.count / (self.count - 1))
            unseen = 1 - share.sum(1, keepdim=True)
            yield share, unseen * (unseen > UNSEEN_ROUNDING)

    @cached_property
    def _changes(self) -> Float64[Tensor, " n"]:
        """Change of the sum of roots without each image, at the same divisor.

        Tr (A - y y^T)^1/2 - Tr A^1/2 = 1/(2 pi) int log(1 - h) t^-1/2 dt.
        """
        held, left = self._leverages
        return torch.where(held < 0.5, torch.log1p(-held.clamp(max=0.5)), left.log()) @ self._weights

    @cached_property
    def _odds(self) -> Float64[Tensor, " j"]:
        """The mean of h / (1 - h)."""
        return (self._leverages.held / self._leverages.left).mean(0)

    @property
    def roots_without_each(self) -> Float64[Tensor, " n"]:
        """Exact sum of the eigenvalues' roots without one image, for each image."""
        return (self.roots + self._changes) * math.sqrt((self.count - 1) / (self.count - 2))

    def roots_without_both(self, i: Int[Tensor, " p"], j: Int[Tensor, " p"]) -> Float64[Tensor, " p"]:
        """Exact sum of the eigenvalues' roots without two images, for each pair of different i and j."""
        n = self.count
        first, second = self._whitened(i), self._whitened(j)
        both = (first * second).sum(1, keepdim=True) + 1 / n
        shared = -both * (both.abs() > UNSEEN_ROUNDING) + (first * second) @ self._lost
        cosine = shared.square() / (self._left(first) * self._left(second))
        # (1 + 1 / (n (n - 2))) (1 - cosine) is the determinant for both over the product of the single ones.
        joint = torch.log1p(-(cosine - (1 - cosine) / (n * (n - 2))).clamp(max=1 - 1e-15)) @ self._weights
        changes = self._changes
        return (self.roots + changes[i] + changes[j] + joint) * math.sqrt((n - 1) / (n - 3))

    def roots_of_population(self, reference: Float64[Tensor, " r"]) -> Float64[Tensor, ""]:
        """Sum of the roots of M's eigenvalues in the population: 1/pi int N(u) u^-1/2 du, by parts.

        The degrees of freedom N(t) = Tr M (M + t)^-1 of the sample are those of the population at a larger u:
        u = t (n - 1) q / N(t), q the mean of h / (1 - h) over the images.  With fewer images than features u has a
        lower bound; below it N has the shape of that of `reference`, M's eigenvalues for images like the reference.
        """
        if not len(self.t):
            return self.roots
        total = (self._u.sqrt() * self.slope).sum() * (2 * LOG_T_STEP / math.pi)
        return total + self._below(reference)

    def changes_of_population(self) -> Float64[Tensor, " n"]:
        """First-order change of `roots_of_population` without each image, up to a common constant.

        The roots are 2/pi int u^1/2 s dlog t with s = -dN/dlog t, so their change is
        2/pi int u^1/2 (s/2 du/u + ds) dlog t, where du/u = dq/q - dN/N.  With a = `once`, b = `twice`, o = `others`:

            dN = -a / (1 - h),  ds = (a - 2 b) / (1 - h) - (a / (1 - h))^2,
            dq = (q - h / (1 - h) + w o / (1 - h)) / (n - 1).

        The last term is the leverage that the other images x gain, sum_x (y^T R x)^2 / (1 - h_x)^2 / (1 - h), where w,
        the mean of 1 / (1 - h_x)^2 weighted by o, stands for each 1 / (1 - h_x)^2.
        """
        (held, left), (once, twice, others) = self._leverages, self._derivatives()
        weight = (others / left**2).sum(0) / _at_least_tiny(others.sum(0))
        odds = (self._odds - held / left + weight * others / left) / (self.count - 1)
        freedom, slope = -once / left, (once - 2 * twice) / left - (once / left) ** 2
        u = odds / self._odds - freedom / self.freedom
        return (u * self.slope / 2 + slope) @ self._u.sqrt() * (2 * LOG_T_STEP / math.pi)

    @cached_property
    def _u(self) -> Float64[Tensor, " j"]:
        return self.t * self._odds * (self.count - 1) / self.freedom

    def _below(self, reference: Float64[Tensor, " r"]) -> Float64[Tensor, ""]:
        """The part of the integral below the least u, if there is any."""
        least, wanted = self._u[0], self.freedom[0]
        # Where u goes to 0 with t, or the reference has no degrees of freedom left, nothing is below.
        if least < 1000 * self.t[0] or float(wanted) >= len(reference):
            return torch.zeros_like(least)
        scale = _ridge(reference, float(wanted))
        below = (reference.sqrt() * (scale / reference).sqrt().atan()).sum() - wanted * math.sqrt(scale)
        return below * (least / scale).sqrt() * (2 / math.pi)

    def _whitened(self, rows: slice | Int[Tensor, " b"]) -> Float64[Tensor, "b k"]:
        """Images in k coordinates; over all images each coordinate has length 1."""
        if self._few:
            return self._vectors[rows]
        scale = (self.eigenvalues * (self.count - 1)).sqrt()
        return (self._x[rows] - self._mean) @ self._vectors / scale

    def _left(self, whitened: Float64[Tensor, "p k"]) -> Float64[Tensor, "p j"]:
        squares = whitened.square()
        unseen = 1 - 1 / self.count - squares.sum(1, keepdim=True)
        return _at_least_tiny(unseen * (unseen > UNSEEN_ROUNDING) + squares @ self._lost)


def centred(x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"]) -> Iterator[Float64[Tensor, "b d"]]:
    """The rows less their mean, some at a time."""
    for rows in torch.split(x, SPECTRUM_BATCH):
        yield rows - mean


def _decomposed(
    x: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"], factor: Float64[Tensor, "d r"]
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, "d k"] | Float64[Tensor, "n k"]]:
    """The positive eigenvalues of M, and the matrix to project features with or, if n <= r, the projected images."""
    n, r = len(x), factor.shape[1]
    if n <= r:
        y = (x - mean) @ factor
        return positive_eigen(y @ y.T / (n - 1))
    m = x.new_zeros(r, r)
    for rows in centred(x, mean):
        y = rows @ factor
        m.addmm_(y.T, y)
    eigenvalues, vectors = positive_eigen(m / (n - 1))
    return eigenvalues, factor @ vectors


def _at_least_tiny(x: Float64[Tensor, "..."]) -> Float64[Tensor, "..."]:
    return x.clamp(min=torch.finfo(x.dtype).tiny)


def _ridge(spectrum: Float64[Tensor, " r"], freedom: float) -> float:
    """The u with `freedom` = sum s / (s + u) over a spectrum s, which has more eigenvalues than that."""
    low, high = math.log(float(spectrum.min())) - 40, math.log(float(spectrum.max())) + 40
    for _ in range(60):
        middle = (low + high) / 2
        if float((spectrum / (spectrum + math.exp(middle))).sum()) > freedom:
            low = middle
        else:
            high = middle
    return math.exp(low)
