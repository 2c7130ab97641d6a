"""Metrics: their base class, reduction over processes, registry, Frechet distance and bits per dimension.

A metric is a subclass of `Metric`, registered with positional (reference, device) and its settings keyword-only.
All metrics of an evaluation receive the same features.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal, TypeAlias

import torch
import torch.distributed as dist
from jaxtyping import Float, Int, Int64, Shaped, UInt8
from torch import Tensor

from gensweep.errors import GensweepError, ParameterError
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.moments import Moments, diversity, variation
from gensweep.metrics.real import Real
from gensweep.metrics.statistics import Statistics
from gensweep.metrics.uncertainty import MIN_IMAGES, Estimate, Target, estimate_distance
from gensweep.registry import Registry
from gensweep.results import Mode

with warnings.catch_warnings():
    # ignite imports torch.distributed.optim, which still uses torch.jit
    warnings.filterwarnings("ignore", ".*torch.jit")
    from ignite.metrics import Metric as IgniteMetric

#: Input of a metric.
Needs: TypeAlias = Literal["samples", "likelihood"]

_alone: ContextVar[bool] = ContextVar("alone", default=False)


class Metric(IgniteMetric):
    """A metric: `update(features)` adds features, and `compute()`, which all processes call, returns a number.

    A batch may be empty.  Raises GensweepError for NaN or infinite features, and below `fewest` generated or real
    images.  `name` is for messages.

    An `of_pixels` metric receives images, UInt8[b c h w]; a metric that `needs` a likelihood, the bits per dimension of
    held-out images, Float[b]; a `labelled` one, pairs with the labels of the images.  The reference of an `of_training`
    metric is always the training images.  An `of_moments` metric needs only mean and covariance of its reference.  A
    metric that is `fooled_by_noise` may prefer noise or the mean image to real images.  `details` are other numbers of
    the last `compute`.
    """

    mode: ClassVar[Mode]
    name: ClassVar[str] = "a metric"
    fewest: ClassVar[int] = 1
    needs: ClassVar[Needs] = "samples"
    of_pixels: ClassVar[bool] = False
    labelled: ClassVar[bool] = False
    of_training: ClassVar[bool] = False
    of_moments: ClassVar[bool] = False
    fooled_by_noise: ClassVar[bool] = False

    def __init__(self, reference: Any = None, device: torch.device | str = "cpu") -> None:
        self.reference = reference
        self.details: Mapping[str, float] = {}
        if isinstance(reference, Real):
            self.check_reference(reference)
        # Apple's GPUs have no float64.
        super().__init__(device="cpu" if torch.device(device).type == "mps" else device)

    def see(self, images: UInt8[Tensor, "b c h w"], features: Tensor, labels: Int[Tensor, " b"] | None) -> None:
        """Update with the images or their features, and the labels if needed."""
        output = images if self.of_pixels else features
        self.update((output, labels) if self.labelled else output)

    @classmethod
    def check_reference(cls, real: Real) -> None:
        """Raise ParameterError if the real images cannot be the reference, for example if there are too few."""
        require_real(len(real.labels), cls.fewest, cls.name)

    def estimate(self) -> Estimate | None:
        """Estimate the score for infinitely many images, with its error; None without an estimate."""
        return None

    def diversity(self) -> float | None:
        """Diversity of the generated images, from 0 (all alike) to 1 (like the reference); None if unknown."""
        return None

    def suspects(self, most: int) -> tuple[Int64[Tensor, " k"], UInt8[Tensor, "k c h w"]] | None:
        """Indices of possible copies, the most suspicious first, and their originals.

        All processes must call it, after `compute`; None if the metric does not search for copies.
        """
        return None


def require_generated(count: int, fewest: int, metric: str) -> None:
    """Raise GensweepError if a metric needs more generated images."""
    if count < fewest:
        images = "image" if fewest == 1 else "images"
        raise GensweepError(
            f"{metric} needs at least {fewest} generated {images}, but got {count}; raise the number of samples"
        )


def require_real(count: int, fewest: int, metric: str) -> None:
    """Raise ParameterError if a metric needs more real images."""
    if count < fewest:
        message = f"{metric} needs at least {fewest} real images, but got {count}"
        raise ParameterError("metrics", f"{message}; raise the limit of the data, or compare with another split")


@contextmanager
def alone() -> Iterator[None]:
    """Compute metrics in this process only; other processes need not call them."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def summed(values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """Sum over all processes, which must all call it."""
    total = values.clone()
    if _rank_and_world()[1] > 1:
        dist.all_reduce(total)
    return total


def in_order(rows: Shaped[Tensor, "n w"]) -> Shaped[Tensor, "m w"]:
    """Rows of all processes, which must all call it, in order of rank."""
    rank, world = _rank_and_world()
    if world == 1:
        return rows
    counts = summed(torch.eye(world, dtype=torch.int64, device=rows.device)[rank] * len(rows))
    start = int(counts[:rank].sum())
    whole = rows.new_zeros(int(counts.sum()), rows.shape[1])
    whole[start : start + len(rows)] = rows
    return summed(whole)


def _rank_and_world() -> tuple[int, int]:
    """Group of processes that compute together; others, such as Ray Train, may create and end it."""
    if _alone.get() or not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


#: Number of generated images (the first ones) whose features are kept.
MAX_FEATURES_KEPT = 10_000
#: `quantisation` in the identity of a likelihood.
LIKELIHOOD_QUANTISATION = "256 levels a value"
#: Bits per dimension of a model that gives all 256 levels the same probability.
BITS_OF_A_UNIFORM_MODEL = 8.0
#: Metric names reserved for one extractor: (that extractor, the name with any other).
RESERVED_NAMES = {"fid": ("inception", "fd")}

METRICS: Registry[type[Metric]] = Registry("metric", package="gensweep.metrics")


@METRICS.register("fid")
@METRICS.register("fd")
class FrechetDistance(Metric):
    """Frechet distance of generated features to a reference, lower is better.

    It is called FID only with the FID-2015 Inception features (see `RESERVED_NAMES`).  Features of the first images are
    kept for the interval.  Source: Heusel et al. 2017.
    """

    mode: ClassVar[Mode] = "min"
    name, fewest = "a Frechet distance", 2
    of_moments: ClassVar[bool] = True

    def __init__(self, reference: Real | Statistics, device: torch.device | str = "cpu") -> None:
        moments = reference.moments
        self._num_features, self._variation = moments.num_features, variation(moments)
        self._target = Target(moments.mean.cpu(), moments.covariance.cpu())
        super().__init__(reference, device)

    def reset(self) -> None:
        """Forget all features."""
        self._state = Moments(self._num_features, self._device).state
        self._first = torch.zeros(0, self._num_features, device=self._device)

    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Add the features of generated images."""
        Moments(self._num_features, state=self._state).update(output)
        self._first = torch.cat([self._first, output.detach()[: MAX_FEATURES_KEPT - len(self._first)].to(self._first)])

    def compute(self) -> float:
        """Distance over the images of all processes.  Raises GensweepError below two images."""
        generated, target = self._generated(), self._target
        return frechet_distance(generated.mean, generated.covariance, target.mean, target.covariance)

    def estimate(self) -> Estimate | None:
        """Estimate the distance for infinitely many images from the kept features; None below 20 images."""
        features = in_order(self._first)[:MAX_FEATURES_KEPT]
        return None if len(features) < MIN_IMAGES else estimate_distance(features.cpu(), self._target)

    def diversity(self) -> float:
        """Diversity of the images of all processes.  Raises GensweepError below two images."""
        return diversity(variation(self._generated()), self._variation)

    def _generated(self) -> Moments:
        generated = Moments(self._num_features, state=summed(self._state).cpu())
        require_generated(generated.count, self.fewest, self.name)
        return generated


@METRICS.register("bpd")
class BitsPerDim(Metric):
    """Bits per dimension of held-out images, lower is better; `update` receives the bound of each image.

    It uses neither a reference nor features.  Source: van den Oord et al. 2016, section 5.1.
    """

    mode: ClassVar[Mode] = "min"
    needs: ClassVar[Needs] = "likelihood"

    def reset(self) -> None:
        """Forget all images."""
        # Number of images, sum of bits, and sum of squared bits.
        self._state = torch.zeros(3, dtype=torch.float64, device=self._device)

    def update(self, output: Float[Tensor, " b"]) -> None:
        """Add the bits per dimension of some images, possibly none."""
        bits = output.detach().to(self._state)
        self._state += torch.stack([bits.new_tensor(len(bits)), bits.sum(), bits.square().sum()])

    def compute(self) -> float:
        """Mean over the images of all processes; the detail `standard_error` is its error.

        Raises GensweepError without images.
        """
        count, total, squares = summed(self._state).tolist()
        if not count:
            raise GensweepError("bits per dimension need at least one image, but got none; hold out more")
        mean = total / count
        variance = max(0.0, squares / count - mean**2)
        self.details = {"standard_error": math.sqrt(variance / max(1, count - 1))}
        return float(mean)
