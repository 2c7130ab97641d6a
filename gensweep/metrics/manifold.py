"""Quality and diversity apart: do generated images lie where real ones do, and real ones where generated ones do?

The manifold of a set of images is the union of balls around them, each as large as the distance to the k-th nearest
neighbour in the set.  Balls shrink as sets grow, so as many real images are used as there are generated ones, evenly
chosen from all.

Shapes: n generated and as many real images (m, where there are fewer of these) of d features.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from gensweep.metrics.collected import CollectedFeatures
from gensweep.metrics.metric import METRICS
from gensweep.metrics.pairs import covering, nearest
from gensweep.results import Mode


class Neighbours(CollectedFeatures):
    """The base of the four: means over images of what is found in the balls around others; `fewest` is k + 1."""

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
