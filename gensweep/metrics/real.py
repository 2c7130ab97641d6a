"""What metrics need of real images: features, moments, distances, a classifier; computed when needed, and cached."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from gensweep.metrics.classes import Classifier, fit_classifier
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.kept import kept
from gensweep.metrics.moments import Moments
from gensweep.metrics.pairs import NearestSearch
from gensweep.metrics.probe import LinearProbe
from gensweep.metrics.references import (
    MAX_REFERENCE_FEATURES,
    RealImages,
    reference_features,
    reference_file,
    reference_key,
    reference_moments,
    reference_name,
    spread,
)

__all__ = ["Real", "RealFeatures"]

#: What a file in the cache holds, with the version of its layout.
CLASSIFIER_FORMAT = "gensweep classifier 1"
DISTANCES_FORMAT = "gensweep distances 1"


@runtime_checkable
class RealFeatures(Protocol):
    """Real images as an extractor sees them; of a large set, evenly chosen ones."""

    @property
    def features(self) -> Float[Tensor, "k d"]:
        """Their features, on the CPU."""


@dataclass(eq=False)
class Real:
    """A data set seen by an extractor, as the reference of any metric.

    `unseen` gives images of the same classes that no model is trained on, or None if there are none.
    """

    images: RealImages
    extractor: Extractor
    cache: Path
    unseen: Callable[[], RealImages | None] = lambda: None

    @property
    def name(self) -> str:
        """The `reference` of an Identity."""
        return reference_name(self.images)

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features of all images."""
        whole = "features" in self.__dict__ and len(self.features) == len(self.images.pixels)
        features = self.features if whole else None
        return reference_moments(self.images, self.extractor, self.cache, features=features)

    @cached_property
    def features(self) -> Float[Tensor, "k d"]:
        """The features of at most MAX_REFERENCE_FEATURES images."""
        return reference_features(self.images, self.extractor, self.cache)

    @property
    def labels(self) -> Int[Tensor, " k"]:
        """The classes of those images."""
        return self.images.labels[spread(len(self.images.labels), MAX_REFERENCE_FEATURES)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """What people call the classes."""
        return self.images.class_names

    @property
    def head(self) -> nn.Linear | None:
        """From features to the logits of the extractor's own classes, if it has any."""
        return self.extractor.head

    def distances(self) -> Float64[Tensor, " k"]:
        """How far each of those images is from the nearest other one; it is kept on disk."""

        def compute() -> dict[str, Tensor]:
            device = next(self.extractor.parameters()).device
            features = self.features.to("cpu" if device.type == "mps" else device)
            others = torch.arange(len(features), device=features.device)
            return {"distances": NearestSearch(features).nearest(features, others=others)[0].cpu()}

        return self._kept(DISTANCES_FORMAT, compute)["distances"]

    def pixels(self, positions: Int[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
        """Some of those images."""
        return self.images.pixels[spread(len(self.images.pixels), MAX_REFERENCE_FEATURES)[positions]]

    def classifier(self) -> Classifier:
        """A probe of those images, tested on unseen ones; it is kept on disk."""
        images = self.unseen()
        unseen = None if images is None else Real(images, self.extractor, self.cache)
        format = f"{CLASSIFIER_FORMAT}, tested on {'a part' if unseen is None else unseen.name}"

        def compute() -> dict[str, Tensor]:
            tested = None if unseen is None else (unseen.features, unseen.labels)
            found = fit_classifier(self.features, self.labels, len(self.class_names), tested)
            numbers = torch.tensor([found.probe.penalty, found.ceiling], dtype=torch.float64)
            return {"weights": found.probe.weights.contiguous(), "bias": found.probe.bias, "numbers": numbers}

        entry = self._kept(format, compute)
        penalty, ceiling = entry["numbers"].tolist()
        return Classifier(LinearProbe(entry["weights"], entry["bias"], penalty), ceiling)

    def _kept(self, format: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        file = reference_file(self.images, self.extractor, self.cache, format)
        return kept(file, reference_key(self.images, self.extractor, format), compute, warnings.warn)
