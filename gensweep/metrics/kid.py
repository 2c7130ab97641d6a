"""The kernel Inception distance: an unbiased comparison of two sets of images, also of small ones."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.metrics.collected import CollectedFeatures
from gensweep.metrics.metric import METRICS
from gensweep.metrics.pairs import products
from gensweep.results import Mode


@METRICS.register("kid")
class KernelDistance(CollectedFeatures):
    """The squared maximum mean discrepancy to real features by the kernel (x.y / d + 1)^3, lower is better.

    It is unbiased: around 0, and also below, for equal distributions, whatever the number of images.  All pairs count,
    which is the same quantity with less noise than the mean over subsets of Bińkowski et al. 2018, eq. 4.
    It is called KID only with the FID-2015 Inception features.
    """

    mode: ClassVar[Mode] = "min"
    name: ClassVar[str] = "a kernel distance"

    def compute(self) -> float:
        """The discrepancy over the images of all processes; the detail `standard_error` is how sure it is."""
        x, y = self._generated(), self._real()
        of_x, of_y = kernel_sums(x, y)
        # What each image adds: how near it is to its own side, and how near to the other.
        a = self_similarity(x) - of_x / len(y)
        b = self._self_similarity_of_real - of_y / len(x)
        # The first-order term of a two-sample U-statistic's variance (Hoeffding 1948); near 0 it errs on the safe side.
        self.details = {"standard_error": float((4 * a.var() / len(x) + 4 * b.var() / len(y)).sqrt())}
        return float(a.mean() + b.mean())

    @cached_property
    def _self_similarity_of_real(self) -> Float64[Tensor, " m"]:
        return self_similarity(self._real())


def self_similarity(x: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    """The mean kernel of each x with all others."""
    itself = (x.double().square().sum(1) / x.shape[1] + 1) ** 3
    return (kernel_sums(x, x)[0] - itself) / (len(x) - 1)


def kernel_sums(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
    """The kernel (x.y / d + 1)^3 summed over all y for each x, and over all x for each y."""
    of_x, of_y = x.new_zeros(len(x), dtype=torch.float64), x.new_zeros(len(y), dtype=torch.float64)
    for rows, columns, product in products(x, y):
        kernel = product.div_(x.shape[1]).add_(1).pow_(3)
        of_x[rows] += kernel.sum(1)
        of_y[columns] += kernel.sum(0)
    return of_x, of_y
