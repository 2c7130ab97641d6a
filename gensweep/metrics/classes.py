"""Do generated images show their class?  Measured by a linear probe, and by the distance within each class.

Shapes: b images in a batch, n generated and m real images of a class, d features, k classes, r = min(n, d).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from gensweep.errors import GensweepError, ParameterError
from gensweep.metrics.collected import CollectedFeatures
from gensweep.metrics.metric import (
    MAX_FEATURES_KEPT,
    METRICS,
    Metric,
    in_order,
    require_generated,
    require_real,
    summed,
)
from gensweep.metrics.moments import require_finite
from gensweep.metrics.probe import HELD_OUT_STRIDE, predicted
from gensweep.metrics.real import Real
from gensweep.results import Mode

#: Real and generated images needed per class: with fewer, the bias of the distance hides the difference.
MIN_IMAGES_PER_CLASS = 10

Labelled: TypeAlias = tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]


@METRICS.register("agreement")
class Agreement(Metric):
    """Share of generated images that a classifier assigns to their intended class, 0 to 1.

    The classifier is a linear probe on features of the training images.  The detail `real`, its accuracy on unseen real
    images, is about the score of a perfect generator; a model that draws only typical images, as with guidance, scores
    higher.  The other details are the shares of the generated classes.  Source: the inverse of the classification
    accuracy score (Ravuri & Vinyals 2019 train on generated images and test on real ones); Shmelkov et al. 2018,
    "GAN-test".
    """

    mode: ClassVar[Mode] = "max"
    name = "agreement"
    labelled: ClassVar[bool] = True
    of_training: ClassVar[bool] = True

    def __init__(self, reference: Real, device: torch.device | str = "cpu") -> None:
        self.class_names = reference.class_names
        super().__init__(reference, device)
        classifier = reference.classifier()
        self._ceiling, self._probe = classifier.ceiling, classifier.probe.to(self._device)

    @classmethod
    def check_reference(cls, real: Real) -> None:
        """Raise ParameterError for a single class, or too few images to fit and test a classifier."""
        require_real(len(real.labels), 2 if real.unseen() is not None else HELD_OUT_STRIDE, "agreement")
        _require_classes(real, "agreement")

    def reset(self) -> None:
        """Forget all images."""
        k = len(self.class_names)
        self._state = torch.zeros(k, k, dtype=torch.float64, device=self._device)

    def update(self, output: Labelled) -> None:
        """Add features of generated images and their labels, from 0 to the number of classes less 1."""
        features, labels = _checked(output, len(self.class_names))
        if len(features):
            drawn, taken = labels.to(self._device), predicted(self._probe, features)
            self._state.index_put_((drawn, taken), self._state.new_ones(len(drawn)), accumulate=True)

    def compute(self) -> float:
        """The share over the images of all processes."""
        matrix = summed(self._state).cpu()
        require_generated(int(matrix.sum()), self.fewest, self.name)
        names = detail_names(self.class_names, {"real", "standard_error"})
        each = zip(names, matrix.sum(1).tolist(), matrix.diagonal().tolist(), strict=True)
        share, images = float(matrix.trace() / matrix.sum()), int(matrix.sum())
        self.details = {"real": self._ceiling, "standard_error": math.sqrt(share * (1 - share) / images)}
        self.details |= {name: right / drawn for name, drawn, right in each if drawn}
        return share


@METRICS.register("fd_by_class")
class FrechetDistanceByClass(CollectedFeatures):
    """Mean over classes of the Frechet distance between generated and real images of the class, lower is better.

    It rises if images of a class are worse or show another class, which `fd` ignores.  Few images raise each distance,
    so compare it only at equal numbers of samples.
    The details are the distance of each class.  Source: "intra FID", Miyato & Koyama 2018, section 5.
    """

    mode: ClassVar[Mode] = "min"
    name: ClassVar[str] = "a distance by class"
    labelled: ClassVar[bool] = True

    @classmethod
    def check_reference(cls, real: Real) -> None:
        """Raise ParameterError for a single class, or one with fewer than MIN_IMAGES_PER_CLASS images."""
        _require_classes(real, "fd_by_class")
        if (found := _small_class(real.labels, real.class_names)) is not None:
            raise ParameterError(
                "metrics",
                f"{cls.name} needs at least {MIN_IMAGES_PER_CLASS} real images per class, but there are {found}; "
                "raise the limit of the data, remove the class, or remove the metric fd_by_class",
            )

    @classmethod
    def check_generated(cls, labels: Int[Tensor, " n"], class_names: Sequence[str]) -> None:
        """Raise GensweepError if a class has fewer than MIN_IMAGES_PER_CLASS of the kept images."""
        if (found := _small_class(labels[:MAX_FEATURES_KEPT], class_names)) is not None:
            raise GensweepError(
                f"{cls.name} needs at least {MIN_IMAGES_PER_CLASS} generated images per class, but got {found}; "
                "raise the number of samples"
            )

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._labels = torch.zeros(0, 1, dtype=torch.int64, device=self._device)

    def update(self, output: Labelled) -> None:  # type: ignore[override]
        """Add features of generated images and their labels, from 0 to the number of classes less 1."""
        features, labels = _checked(output, len(self.reference.class_names))
        super().update(features)
        self._labels = torch.cat([self._labels, labels.to(self._labels)[:, None]])[: self._count]

    def compute(self) -> float:
        """The mean of the distances.  Raises GensweepError if a class has fewer than MIN_IMAGES_PER_CLASS images."""
        generated, labels = self._generated(), in_order(self._labels)[:MAX_FEATURES_KEPT, 0]
        class_names, real, real_labels = self.reference.class_names, self.reference.features, self.reference.labels
        self.check_generated(labels, class_names)
        distances = [
            distance_of_features(generated[labels == label], real[real_labels == label].to(self._device))
            for label in range(len(class_names))
        ]
        self.details = dict(zip(detail_names(class_names), distances, strict=True))
        return sum(distances) / len(distances)


def distance_of_features(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The Frechet distance of two sets of features, of at least 2 each, without a covariance matrix of either.

    With factors A^T A and B^T B of the covariances, Tr (S1 S2)^1/2 is the sum of the singular values of A B^T.
    """
    offset = x.mean(0, dtype=torch.float64) - y.mean(0, dtype=torch.float64)
    a, b = _factor(x), _factor(y)
    overlap = torch.linalg.svdvals(a @ b.T).sum()
    return max(0.0, float(offset.square().sum() + a.square().sum() + b.square().sum() - 2 * overlap))


def _factor(x: Float[Tensor, "n d"]) -> Float64[Tensor, "r d"]:
    """A with A^T A the covariance: the centred images, or a triangle if there are more than d of them."""
    centred = (x.double() - x.mean(0, dtype=torch.float64)) / math.sqrt(len(x) - 1)
    return torch.linalg.qr(centred, mode="r").R if len(x) > x.shape[1] else centred


def detail_names(class_names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Class names that are valid in the name of a metric; repeated and `taken` ones get their number."""
    names = [re.sub(r"[^\w.\- ]", "_", name) for name in class_names]
    return [f"{name}_{label}" if name in taken or names.count(name) > 1 else name for label, name in enumerate(names)]


def _small_class(labels: Int[Tensor, " n"], class_names: Sequence[str]) -> str | None:
    """Size of the first class below MIN_IMAGES_PER_CLASS, such as "7 of cat"; None if there is none."""
    counts = torch.bincount(labels, minlength=len(class_names)).tolist()
    few = [(count, name) for count, name in zip(counts, class_names, strict=True) if count < MIN_IMAGES_PER_CLASS]
    return f"{few[0][0]} of {few[0][1]}" if few else None


def _require_classes(real: Real, metric: str) -> None:
    counts = torch.bincount(real.labels, minlength=len(real.class_names)).tolist()
    names = [name for name, images in zip(real.class_names, counts, strict=True) if images]
    if len(names) < 2:
        raise ParameterError(
            "metrics",
            f"{metric} compares classes, but the data have only one ({', '.join(names)}); "
            f"remove the metric {metric}, or add classes",
        )


def _checked(output: Labelled, classes: int) -> Labelled:
    features, labels = output
    require_finite(features)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise GensweepError(
            f"labels of generated images must be in 0..{classes - 1}, but range from {int(labels.min())} "
            f"to {int(labels.max())}; compare with data that have the model's classes"
        )
    return features.detach(), labels
