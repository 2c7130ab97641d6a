"""Metrics of pairs of images, which keep features until all are there: kernel distance, precision, recall and the like.

They compare the first `MAX_FEATURES_KEPT` generated images with as many real ones, evenly chosen from all.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from gensweep.metrics.metric import MAX_FEATURES_KEPT, METRICS, Metric, in_order, require_generated
from gensweep.metrics.moments import require_finite
from gensweep.metrics.real import Real, nearest, spread
from gensweep.results import Mode

#: Rows and columns of a block of pairs: 34 MB in float64.
BLOCK_ROWS = 2048


class CollectedFeatures(Metric):
    """The base of metrics of pairs."""

    reference: Real
    fewest: ClassVar[int] = 2

    def reset(self) -> None:
        """Forget all features."""
        # Batches as they come: all metrics of an evaluation hold the same ones, and memory is taken once.
        self._batches: list[Tensor] = []
        self._count = 0

    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Take in the features of generated images."""
        features = output.detach().to(self._device, torch.float32)
        require_finite(features)
        self._batches.append(features[: MAX_FEATURES_KEPT - self._count])
        self._count += len(self._batches[-1])

    def _generated(self) -> Float[Tensor, "n d"]:
        """Those of all processes, in their order.  Raises GensweepError if they are fewer than `fewest`."""
        none = torch.zeros(0, self.reference.features.shape[1], device=self._device)
        features = in_order(torch.cat([none, *self._batches]))[:MAX_FEATURES_KEPT]
        require_generated(len(features), self.fewest, self.name)
        return features

    def _real(self, most: int = MAX_FEATURES_KEPT) -> Float[Tensor, "m d"]:
        """Real features, on the device."""
        features = self.reference.features
        return features[spread(len(features), most)].to(self._device)


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
    for i in range(0, len(x), BLOCK_ROWS):
        rows = x[i : i + BLOCK_ROWS].double()
        for j in range(0, len(y), BLOCK_ROWS):
            product = rows @ y[j : j + BLOCK_ROWS].double().T
            kernel = product.div_(x.shape[1]).add_(1).pow_(3)
            of_x[i : i + BLOCK_ROWS] += kernel.sum(1)
            of_y[j : j + BLOCK_ROWS] += kernel.sum(0)
    return of_x, of_y


def covering(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], radii: Float64[Tensor, " m"]
) -> Int64[Tensor, " n"]:
    """In how many of the balls each point lies; a ball's surface belongs to it.  It is computed on the CPU."""
    from sklearn.metrics import pairwise_distances_chunked  # whose import takes a second

    # In float64, as |x|^2 + |y|^2 - 2 x.y loses half of its digits where two images are alike.
    x, y, reach = (each.double().numpy(force=True) for each in (points, centres, radii))
    counts = pairwise_distances_chunked(x, y, reduce_func=lambda distances, _: (distances <= reach).sum(1))
    return torch.cat([torch.from_numpy(count) for count in counts]).to(points.device)


class Neighbours(CollectedFeatures):
    """Quality and diversity apart: do generated images lie where real ones do, and the other way round?

    The manifold of a set of images is the union of balls around them, each as large as the distance to the k-th nearest
    neighbour in the set.  Balls shrink as sets grow, so as many real images are used as there are generated ones.
    `fewest` is k + 1.
    """

    mode: ClassVar[Mode] = "max"
    k: ClassVar[int]
    _of_real: Float64[Tensor, " m"] | None = None

    def compute(self) -> float:
        """The mean over the images of all processes.  Raises GensweepError if they are not more than k."""
        generated = self._generated()
        return float(self._found(generated, self._real(len(generated))).double().mean())

    @abstractmethod
    def _found(
        self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]
    ) -> Bool[Tensor, " each"] | Int64[Tensor, " each"]: ...

    def _radii(self, x: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        return nearest(x, k=self.k)[0][:, -1]

    def _radii_of_real(self, real: Float[Tensor, "m d"]) -> Float64[Tensor, " m"]:
        # One evaluation has as many images as the last.
        if self._of_real is None or len(self._of_real) != len(real):
            self._of_real = self._radii(real)
        return self._of_real


@METRICS.register("precision")
class Precision(Neighbours):
    """The share of generated images in the ball of a real one, 0 to 1: are they realistic?

    Source: Kynkäänniemi et al. 2019, eq. 2, with k = 3.
    """

    fooled_by_noise: ClassVar[bool] = True
    name, k, fewest = "precision", 3, 4

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Bool[Tensor, " n"]:
        return covering(generated, real, self._radii_of_real(real)) > 0


@METRICS.register("recall")
class Recall(Neighbours):
    """The share of real images in the ball of a generated one, 0 to 1: is all of the variety there?

    Source: Kynkäänniemi et al. 2019, eq. 2, with k = 3.
    """

    name, k, fewest = "recall", 3, 4

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Bool[Tensor, " m"]:
        return covering(real, generated, self._radii(generated)) > 0


@METRICS.register("density")
class Density(Neighbours):
    """In how many balls of real images a generated one lies, as a multiple of k; 1 in the mean for real images.

    It has no upper bound; an outlier among the real images, whose ball is large, hardly moves it.
    Source: Naeem et al. 2020, eq. 5, with k = 5.
    """

    fooled_by_noise: ClassVar[bool] = True
    name, k, fewest = "density", 5, 6

    def compute(self) -> float:
        """The mean over the images of all processes.  Raises GensweepError if they are not more than k."""
        return super().compute() / self.k

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Int64[Tensor, " n"]:
        return covering(generated, real, self._radii_of_real(real))


@METRICS.register("coverage")
class Coverage(Neighbours):
    """The share of real images with a generated one in their ball, 0 to 1; 31/32 in the mean for real images.

    An outlier among the generated images does not move it.  Source: Naeem et al. 2020, eq. 6, with k = 5.
    """

    name, k, fewest = "coverage", 5, 6

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Bool[Tensor, " m"]:
        return nearest(generated, real)[0][:, 0] <= self._radii_of_real(real)
