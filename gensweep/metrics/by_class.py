"""The Frechet distance class by class: a model may draw good images and give them the wrong labels.

Shapes: n generated and m real images of a class, d features, r = min(n, d).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.classes import LabelledReference, detail_name, require_classes, require_labels
from gensweep.metrics.collected import CollectedFeatures
from gensweep.metrics.metric import MAX_FEATURES_KEPT, METRICS, Mode
from gensweep.metrics.processes import in_order, reinit__is_reduced

__all__ = ["MIN_IMAGES_PER_CLASS", "FrechetDistanceByClass", "distance_of_features"]

#: Real and generated images that a class needs: with fewer the bias of the distance hides the difference.
MIN_IMAGES_PER_CLASS = 10


@METRICS.register("fd_by_class")
class FrechetDistanceByClass(CollectedFeatures):
    """The mean over the classes of the Frechet distance of generated to real images of that class, lower is better.

    It rises if the images of a class are worse, or of another class, which `fd` does not see.  Few images put each
    distance too high, and those of a class are few: compare it at equal numbers of samples only.
    The details are the distance of each class.  Source: "intra FID", Miyato & Koyama 2018, section 5.
    """

    mode: ClassVar[Mode] = "min"
    name: ClassVar[str] = "a distance by class"
    labelled: ClassVar[bool] = True
    _state_dict_all_req_keys = ("_features", "_labels")

    def __init__(
        self, reference: LabelledReference, num_features: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.class_names = require_classes(reference, "fd_by_class")
        self._real_labels = reference.labels
        for name, count in zip(self.class_names, self._counts(self._real_labels), strict=True):
            if count < MIN_IMAGES_PER_CLASS:
                raise GensweepError(
                    f"{self.name} needs at least {MIN_IMAGES_PER_CLASS} real images of each class, but there are "
                    f"{count} of {name}; leave the class out of data.classes, or take fd_by_class out of "
                    "evaluation.metrics"
                )
        self._distances: list[float] = []
        super().__init__(reference, num_features, device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._labels = torch.zeros(0, 1, dtype=torch.int64, device=self._device)

    @reinit__is_reduced
    def update(self, output: tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]) -> None:
        """Take in features of generated images and their labels, which may be none.

        Raises GensweepError if a feature is NaN or infinite or a label is not that of a class.
        """
        features, labels = require_labels(output, len(self.class_names))
        super().update(features)
        self._labels = torch.cat([self._labels, labels.to(self._labels)[:, None]])[: self._count]

    def compute(self) -> float:
        """The mean of the distances.  Raises GensweepError if a class has fewer than MIN_IMAGES_PER_CLASS images."""
        generated, labels = self._generated(), in_order(self._labels)[:MAX_FEATURES_KEPT, 0]
        for name, count in zip(self.class_names, self._counts(labels), strict=True):
            if count < MIN_IMAGES_PER_CLASS:
                raise GensweepError(
                    f"{self.name} needs at least {MIN_IMAGES_PER_CLASS} generated images of each class, but got "
                    f"{count} of {name}; raise evaluation.samples"
                )
        self._distances = [
            distance_of_features(
                generated[labels == label], self.reference.features[self._real_labels == label].to(self._device)
            )
            for label in range(len(self.class_names))
        ]
        return sum(self._distances) / len(self._distances)

    def details(self) -> Mapping[str, float]:
        """The distances of the last `compute`, by class."""
        return dict(zip(map(detail_name, self.class_names), self._distances, strict=True))

    def _counts(self, labels: Int[Tensor, " n"]) -> list[int]:
        counts: list[int] = torch.bincount(labels, minlength=len(self.class_names)).tolist()
        return counts


def distance_of_features(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The Frechet distance of two sets of features, of at least 2 each, without a covariance matrix of either.

    With factors A^T A and B^T B of the covariances, Tr (S1 S2)^1/2 is the sum of the singular values of A B^T.
    """
    offset = x.mean(0, dtype=torch.float64) - y.mean(0, dtype=torch.float64)
    a, b = _factor(x), _factor(y)
    overlap = torch.linalg.svdvals(a @ b.T).sum()
    return max(0.0, float(offset.square().sum() + a.square().sum() + b.square().sum() - 2 * overlap))


def _factor(x: Float[Tensor, "n d"]) -> Float64[Tensor, "r d"]:
    """A with A^T A the covariance: the centred images themselves, or a triangle if there are more of them than d."""
    centred = (x.double() - x.mean(0, dtype=torch.float64)) / math.sqrt(len(x) - 1)
    return torch.linalg.qr(centred, mode="r").R if len(x) > x.shape[1] else centred
