"""Metrics of pairs of images, which need all features: kernel distance, energy distance, precision, recall, density,
coverage.

They compare the first `MAX_FEATURES_KEPT` generated images with the same number of real ones, evenly chosen.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from gensweep.metrics.metric import MAX_FEATURES_KEPT, METRICS, Metric, in_order, require_generated
from gensweep.metrics.moments import require_finite
from gensweep.metrics.real import Real, nearest, spread
from gensweep.results import Mode

#: Rows and columns of a block of pairs: 34 MB in float64.
BLOCK_ROWS = 2048

#: A similarity of each x to each y.
Kernel: TypeAlias = Callable[[Float64[Tensor, "n d"], Float64[Tensor, "m d"]], Float64[Tensor, "n m"]]


class CollectedFeatures(Metric):
    """The base of metrics of pairs."""

    reference: Real
    fewest: ClassVar[int] = 2

    def reset(self) -> None:
        """Forget all features."""
        # Keep batches: all metrics of an evaluation share them, which saves memory.
        self._batches: list[Tensor] = []
        self._count = 0

    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Add the features of generated images."""
        features = output.detach().to(self._device, torch.float32)
        require_finite(features)
        self._batches.append(features[: MAX_FEATURES_KEPT - self._count])
        self._count += len(self._batches[-1])

    def _generated(self) -> Float[Tensor, "n d"]:
        """Features of all processes, in order.  Raises GensweepError below `fewest`."""
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
    """Squared maximum mean discrepancy to real features with the kernel (x.y / d + 1)^3, lower is better.

    It is unbiased: for equal distributions it is around 0 (possibly negative), for any number of images.  All pairs
    count, which gives the same quantity as the mean over subsets of Bińkowski et al. 2018, eq. 4, with less noise.  It
    is called KID only with the FID-2015 Inception features.
    """

    mode: ClassVar[Mode] = "min"
    name: ClassVar[str] = "a kernel distance"

    def compute(self) -> float:
        """Discrepancy over the images of all processes; the detail `standard_error` is its error."""
        x, y = self._generated(), self._real()
        of_x, of_y = kernel_sums(x, y, self.kernel)
        # Contribution of each image: its similarity to its own side, and to the other.
        a = self_similarity(x, self.kernel) - of_x / len(y)
        b = self._self_similarity_of_real - of_y / len(x)
        # First-order variance of a two-sample U-statistic (Hoeffding 1948); near 0 it is too large.
        self.details = {"standard_error": float((4 * a.var() / len(x) + 4 * b.var() / len(y)).sqrt())}
        return float(a.mean() + b.mean())

    @staticmethod
    def kernel(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> Float64[Tensor, "n m"]:
        """(x.y / d + 1)^3."""
        return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)

    @cached_property
    def _self_similarity_of_real(self) -> Float64[Tensor, " m"]:
        return self_similarity(self._real(), self.kernel)


@METRICS.register("energy")
class EnergyDistance(KernelDistance):
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| to real features, lower is better.

    It is 0 only for equal distributions, whatever their moments.  All pairs of different images count, so it is
    unbiased.  Source: Székely & Rizzo 2013, eq. 6.1.
    """

    name: ClassVar[str] = "an energy distance"

    @staticmethod
    def kernel(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> Float64[Tensor, "n m"]:
        """-|x - y|: its discrepancy is the energy distance."""
        return -torch.cdist(x, y)


def self_similarity(x: Float[Tensor, "n d"], kernel: Kernel = KernelDistance.kernel) -> Float64[Tensor, " n"]:
    """Mean kernel of each x with all others."""
    itself = torch.cat([kernel(row, row)[0] for row in torch.split(x.double(), 1)])
    return (kernel_sums(x, x, kernel)[0] - itself) / (len(x) - 1)


def kernel_sums(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], kernel: Kernel = KernelDistance.kernel
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
    """The kernel summed over all y for each x, and over all x for each y."""
    of_x, of_y = x.new_zeros(len(x), dtype=torch.float64), x.new_zeros(len(y), dtype=torch.float64)
    for i in range(0, len(x), BLOCK_ROWS):
        rows = x[i : i + BLOCK_ROWS].double()
        for j in range(0, len(y), BLOCK_ROWS):
            found = kernel(rows, y[j : j + BLOCK_ROWS].double())
            of_x[i : i + BLOCK_ROWS] += found.sum(1)
            of_y[j : j + BLOCK_ROWS] += found.sum(0)
    return of_x, of_y


def covering(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], radii: Float64[Tensor, " m"]
) -> Int64[Tensor, " n"]:
    """Number of balls that contain each point, surfaces included; computed on the CPU."""
    from sklearn.metrics import pairwise_distances_chunked  # importing it takes a second

    # In float64, as |x|^2 + |y|^2 - 2 x.y loses half of its digits for similar images.
    x, y, reach = (each.double().numpy(force=True) for each in (points, centres, radii))
    counts = pairwise_distances_chunked(x, y, reduce_func=lambda distances, _: (distances <= reach).sum(1))
    return torch.cat([torch.from_numpy(count) for count in counts]).to(points.device)


class Neighbours(CollectedFeatures):
    """Quality and diversity measured separately: are generated images near real ones, and the reverse?

    The manifold of a set of images is the union of balls around them with the distance to the k-th nearest neighbour as
    radius.  Balls shrink as sets grow, so the same number of real and generated images is used.  `fewest` is k + 1.
    """

    mode: ClassVar[Mode] = "max"
    k: ClassVar[int]
    _of_real: Float64[Tensor, " m"] | None = None

    def compute(self) -> float:
        """Mean over the images of all processes; the detail `standard_error` is its error.

        It is that of independent images.  Raises GensweepError unless there are more than k.
        """
        generated = self._generated()
        found = self._found(generated, self._real(len(generated))).double()
        self.details = {"standard_error": float(found.std() / len(found) ** 0.5)}
        return float(found.mean())

    @abstractmethod
    def _found(
        self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]
    ) -> Bool[Tensor, " each"] | Float64[Tensor, " each"]: ...

    def _radii(self, x: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        return nearest(x, k=self.k)[0][:, -1]

    def _radii_of_real(self, real: Float[Tensor, "m d"]) -> Float64[Tensor, " m"]:
        # All evaluations use the same number of images.
        if self._of_real is None or len(self._of_real) != len(real):
            self._of_real = self._radii(real)
        return self._of_real


@METRICS.register("precision")
class Precision(Neighbours):
    """Share of generated images in the ball of a real one, 0 to 1: are they realistic?

    Source: Kynkäänniemi et al. 2019, eq. 2, with k = 3.
    """

    fooled_by_noise: ClassVar[bool] = True
    name, k, fewest = "precision", 3, 4

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Bool[Tensor, " n"]:
        return covering(generated, real, self._radii_of_real(real)) > 0


@METRICS.register("recall")
class Recall(Neighbours):
    """Share of real images in the ball of a generated one, 0 to 1: is all of the variety covered?

    Source: Kynkäänniemi et al. 2019, eq. 2, with k = 3.
    """

    name, k, fewest = "recall", 3, 4

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Bool[Tensor, " m"]:
        return covering(real, generated, self._radii(generated)) > 0


@METRICS.register("density")
class Density(Neighbours):
    """Number of real images' balls that contain a generated one, divided by k; 1 in the mean for real images.

    It has no upper bound; real outliers, which have large balls, hardly affect it.
    Source: Naeem et al. 2020, eq. 5, with k = 5.
    """

    fooled_by_noise: ClassVar[bool] = True
    name, k, fewest = "density", 5, 6

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Float64[Tensor, " n"]:
        return covering(generated, real, self._radii_of_real(real)).double() / self.k


@METRICS.register("coverage")
class Coverage(Neighbours):
    """Share of real images with a generated one in their ball, 0 to 1; 31/32 in the mean for real images.

    Generated outliers do not affect it.  Source: Naeem et al. 2020, eq. 6, with k = 5.
    """

    name, k, fewest = "coverage", 5, 6

    def _found(self, generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Bool[Tensor, " m"]:
        return nearest(generated, real)[0][:, 0] <= self._radii_of_real(real)
