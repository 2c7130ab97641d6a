"""What metrics may ask about real images: each answer is computed when it is first asked for, and kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from gensweep.metrics.extractors import Extractor
from gensweep.metrics.moments import Moments
from gensweep.metrics.references import (
    RealImages,
    reference_features,
    reference_moments,
    reference_name,
)

__all__ = ["Real", "RealFeatures"]


@runtime_checkable
class RealFeatures(Protocol):
    """Real images as an extractor sees them; of a large set, evenly chosen ones."""

    @property
    def features(self) -> Float[Tensor, "k d"]:
        """Their features, on the CPU."""


@dataclass(eq=False)
class Real:
    """A data set as an extractor sees it; a `metric.Reference` and `RealFeatures`."""

    images: RealImages
    extractor: Extractor
    cache: Path

    @property
    def name(self) -> str:
        """The `reference` of a MetricIdentity."""
        return reference_name(self.images)

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features of all images."""
        whole = "features" in self.__dict__ and len(self.features) == len(self.images.pixels)
        features = self.features if whole else None
        return reference_moments(self.images, self.extractor, self.cache, features=features)

    @cached_property
    def features(self) -> Float[Tensor, "k d"]:
        """The features of at most MOST_FEATURES images."""
        return reference_features(self.images, self.extractor, self.cache)
