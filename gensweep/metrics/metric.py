"""Metrics as pytorch-ignite metrics: features of images in, one number out, on any number of processes.

A metric is registered with positional (reference, num_features, device) and its settings keyword-only.  It gets the
features of generated images by `update(features)`; `compute()` reduces over all processes of torch.distributed, which
must all call it.  All metrics of an evaluation are fed by the same features.  A metric whose class says that it `needs`
a likelihood gets the bits per dimension of held-out images instead, Float[b].  One that is `labelled` gets pairs of
features and labels, and one that is `of_training` has the training images as its reference, whatever the others have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.diversity import diversity, variation
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.moments import Moments, require_num_features
from gensweep.metrics.processes import (
    Metric,
    follow_process_group,
    in_order,
    reinit__is_reduced,
    sync_all_reduce,
    with_float64,
)
from gensweep.metrics.uncertainty import MIN_IMAGES, Estimate, Target, estimate_distance
from gensweep.registry import Registry

__all__ = [
    "LIKELIHOOD_QUANTISATION",
    "MAX_FEATURES_KEPT",
    "METRICS",
    "RESERVED_NAMES",
    "BitsPerDim",
    "Detailed",
    "Diverse",
    "Estimating",
    "FrechetDistance",
    "MetricClass",
    "Mode",
    "Needs",
    "Reference",
    "Suspicious",
    "is_labelled",
    "is_of_training",
]

#: Generated images (the first) whose features are kept, for what needs each of them.
MAX_FEATURES_KEPT = 10_000
#: Which scores are the better ones, and what a metric is computed from.
Mode: TypeAlias = Literal["min", "max"]
Needs: TypeAlias = Literal["samples", "likelihood"]
#: The `quantisation` in a likelihood's identity.
LIKELIHOOD_QUANTISATION = "256 levels a value"
#: Names that a metric has with the features of one extractor only: (that extractor, its name with any other).
RESERVED_NAMES = {"fid": ("inception", "fd")}


@runtime_checkable
class Reference(Protocol):
    """What real images look like to an extractor; `Moments` are the plainest one."""

    @property
    def moments(self) -> Moments:
        """Mean and covariance of their features."""


@runtime_checkable
class MetricClass(Protocol):
    """A metric's class: `mode` says which scores are the better ones, `needs` what they are computed from."""

    mode: Mode
    needs: Needs

    def __call__(self, *args: Any, **settings: Any) -> Metric:
        """A metric from (reference, num_features, device)."""


@runtime_checkable
class Estimating(Protocol):
    """A metric that can estimate the error of its score."""

    def estimate(self) -> Estimate | None:
        """Over the images of all processes; None if they are too few."""


@runtime_checkable
class Detailed(Protocol):
    """A metric with more numbers than its score."""

    def details(self) -> Mapping[str, float]:
        """Other numbers of the last `compute`, by name."""


def is_labelled(metric: Metric | MetricClass) -> bool:
    """Whether a metric, or a metric's class, is fed by pairs (features, labels that the images were drawn for)."""
    return _says(metric, "labelled")


def is_of_training(metric: Metric | MetricClass) -> bool:
    """Whether a metric, or a metric's class, compares with the training images, whatever `evaluation.against` says."""
    return _says(metric, "of_training")


def _says(metric: Metric | MetricClass, name: str) -> bool:
    # The class, as an instance of an ignite metric has every attribute.
    return getattr(metric if isinstance(metric, type) else type(metric), name, False) is True


METRICS: Registry[MetricClass] = Registry("metric", package="gensweep.metrics")


@runtime_checkable
class Diverse(Protocol):
    """A metric that also measures how diverse the generated images are."""

    def diversity(self) -> float:
        """From 0, all alike, to 1, like the reference, over the images of all processes; see `metrics.diversity`."""


@runtime_checkable
class Suspicious(Protocol):
    """A metric that can point out generated images that look like copies."""

    def suspects(self, most: int) -> tuple[Int64[Tensor, " k"], UInt8[Tensor, "k c h w"]]:
        """Which of the generated images are nearest to a real one, the nearest first, and these real ones.

        All processes must call it, after `compute`.
        """


@METRICS.register("fid")
@METRICS.register("fd")
class FrechetDistance(Metric):
    """The Frechet distance of generated features to a reference, lower is better.

    It is called FID only with the FID-2015 Inception features (see `RESERVED_NAMES`).  Features of the first images,
    up to a number, are kept for the interval.  Source: Heusel et al. 2017.
    """

    mode: ClassVar[Mode] = "min"
    needs: ClassVar[Needs] = "samples"
    _state_dict_all_req_keys = ("_state", "_first")

    def __init__(
        self, reference: Reference, num_features: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        moments = reference.moments
        require_num_features(moments.num_features, num_features)
        self._num_features = moments.num_features
        self._reference = Target(moments.mean.cpu(), moments.covariance.cpu())
        self._variation = variation(moments)
        super().__init__(device=with_float64(device))

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all features."""
        self._state = Moments(self._num_features, self._device).state
        self._first = torch.zeros(0, self._num_features, device=self._device)

    @reinit__is_reduced
    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Take in the features of a batch of generated images, which may be empty."""
        Moments.of_state(self._state, self._num_features).update(output)
        self._first = torch.cat([self._first, output.detach()[: MAX_FEATURES_KEPT - len(self._first)].to(self._first)])

    def compute(self) -> float:
        """The distance over the images of all processes.  Raises GensweepError if they are fewer than two."""
        generated = self._generated()
        reference = self._reference
        return frechet_distance(generated.mean, generated.covariance, reference.mean, reference.covariance)

    def estimate(self) -> Estimate | None:
        """The distance for endless images, from the features that are kept; None below 20 images."""
        features = in_order(self._first)[:MAX_FEATURES_KEPT]
        return None if len(features) < MIN_IMAGES else estimate_distance(features.cpu(), self._reference)

    def diversity(self) -> float:
        """How diverse the images of all processes are.  Raises GensweepError if they are fewer than two."""
        return diversity(variation(self._generated()), self._variation)

    def _generated(self) -> Moments:
        follow_process_group()
        generated = Moments.of_state(self._reduced_state(), self._num_features)
        if generated.count < 2:
            raise GensweepError(
                f"a Frechet distance needs at least 2 generated images, but got {generated.count}; "
                "raise evaluation.samples"
            )
        return generated

    @sync_all_reduce("_state")
    def _reduced_state(self) -> Tensor:
        return self._state.cpu()


@METRICS.register("bpd")
class BitsPerDim(Metric):
    """Bits per dimension of held-out images, lower is better; it is fed the bound of each image.

    It uses neither a reference nor features.  Source: van den Oord et al. 2016, section 5.1.
    """

    mode: ClassVar[Mode] = "min"
    needs: ClassVar[Needs] = "likelihood"
    _state_dict_all_req_keys = ("_state",)

    def __init__(
        self, reference: object = None, num_features: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(device=with_float64(device))

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all images."""
        self._state = torch.zeros(2, dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: Float[Tensor, " b"]) -> None:
        """Take in the bits per dimension of some images, which may be none."""
        self._state[0] += len(output)
        self._state[1] += output.detach().to(self._state).sum()

    def compute(self) -> float:
        """The mean over the images of all processes.  Raises GensweepError if there are none."""
        follow_process_group()
        return float(self._reduced_mean())

    @sync_all_reduce("_state")
    def _reduced_mean(self) -> float:
        count, total = self._state.tolist()
        if not count:
            raise GensweepError("bits per dimension need at least one image, but got none; raise evaluation.likelihood")
        return float(total / count)
