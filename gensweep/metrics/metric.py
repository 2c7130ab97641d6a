"""The registry of metrics, the Frechet distance, and bits per dimension.

A metric is a class of `processes.Metric`, registered with positional (reference, device) and its settings keyword-only.
All metrics of an evaluation are fed by the same features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.moments import Moments, diversity, variation
from gensweep.metrics.processes import Metric, Needs, in_order, require_generated, require_real, summed
from gensweep.metrics.real import Real
from gensweep.metrics.uncertainty import MIN_IMAGES, Estimate, Target, estimate_distance
from gensweep.registry import Registry
from gensweep.results import Mode

#: Generated images (the first) whose features are kept, for what needs each of them.
MAX_FEATURES_KEPT = 10_000
#: The `quantisation` in a likelihood's identity.
LIKELIHOOD_QUANTISATION = "256 levels a value"
#: Bits per dimension of any image by a model that finds all of its 256 levels equally likely.
BITS_OF_A_UNIFORM_MODEL = 8.0
#: Names that a metric has with the features of one extractor only: (that extractor, its name with any other).
RESERVED_NAMES = {"fid": ("inception", "fd")}

METRICS: Registry[type[Metric]] = Registry("metric", package="gensweep.metrics")


@runtime_checkable
class _HasMoments(Protocol):
    @property
    def moments(self) -> Moments: ...


@METRICS.register("fid")
@METRICS.register("fd")
class FrechetDistance(Metric):
    """The Frechet distance of generated features to a reference, lower is better.

    It is called FID only with the FID-2015 Inception features (see `RESERVED_NAMES`).  Features of the first images,
    up to a number, are kept for the interval.  Source: Heusel et al. 2017.
    """

    mode: ClassVar[Mode] = "min"
    of_moments: ClassVar[bool] = True

    def __init__(self, reference: _HasMoments, device: torch.device | str = "cpu") -> None:
        moments = reference.moments
        self._num_features, self._variation = moments.num_features, variation(moments)
        self._target = Target(moments.mean.cpu(), moments.covariance.cpu())
        super().__init__(reference, device)

    @classmethod
    def check_reference(cls, real: Real) -> None:
        """Raise ParameterError for a single image, which has no covariance."""
        require_real(len(real.labels), 2, "a Frechet distance")

    @classmethod
    def check_generated(cls, labels: Int[Tensor, " n"], class_names: Sequence[str]) -> None:
        """Raise GensweepError for a single image."""
        require_generated(len(labels), 2, "a Frechet distance")

    def reset(self) -> None:
        """Forget all features."""
        self._state = Moments(self._num_features, self._device).state
        self._first = torch.zeros(0, self._num_features, device=self._device)

    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Take in the features of generated images."""
        Moments(self._num_features, state=self._state).update(output)
        self._first = torch.cat([self._first, output.detach()[: MAX_FEATURES_KEPT - len(self._first)].to(self._first)])

    def compute(self) -> float:
        """The distance over the images of all processes.  Raises GensweepError if they are fewer than two."""
        generated, target = self._generated(), self._target
        return frechet_distance(generated.mean, generated.covariance, target.mean, target.covariance)

    def estimate(self) -> Estimate | None:
        """The distance for endless images, from the features that are kept; None below 20 images."""
        features = in_order(self._first)[:MAX_FEATURES_KEPT]
        return None if len(features) < MIN_IMAGES else estimate_distance(features.cpu(), self._target)

    def diversity(self) -> float:
        """How diverse the images of all processes are.  Raises GensweepError if they are fewer than two."""
        return diversity(variation(self._generated()), self._variation)

    def _generated(self) -> Moments:
        generated = Moments(self._num_features, state=summed(self._state).cpu())
        require_generated(generated.count, 2, "a Frechet distance")
        return generated


@METRICS.register("bpd")
class BitsPerDim(Metric):
    """Bits per dimension of held-out images, lower is better; it is fed the bound of each image.

    It uses neither a reference nor features.  Source: van den Oord et al. 2016, section 5.1.
    """

    mode: ClassVar[Mode] = "min"
    needs: ClassVar[Needs] = "likelihood"

    def reset(self) -> None:
        """Forget all images."""
        # Images, the sum of their bits, and of the squares of these.
        self._state = torch.zeros(3, dtype=torch.float64, device=self._device)

    def update(self, output: Float[Tensor, " b"]) -> None:
        """Take in the bits per dimension of some images, which may be none."""
        bits = output.detach().to(self._state)
        self._state += torch.stack([bits.new_tensor(len(bits)), bits.sum(), bits.square().sum()])

    def compute(self) -> float:
        """The mean over the images of all processes; the detail `standard_error` is how sure it is.

        Raises GensweepError if there are none.
        """
        count, total, squares = summed(self._state).tolist()
        if not count:
            raise GensweepError("bits per dimension need at least one image, but got none; hold out more")
        mean = total / count
        variance = max(0.0, squares / count - mean**2)
        self.details = {"standard_error": math.sqrt(variance / max(1, count - 1))}
        return float(mean)
