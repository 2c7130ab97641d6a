"""Classes of images, as metrics look at them: real images with labels, a classifier of them, names for details."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.errors import GensweepError, ParameterError
from gensweep.metrics.moments import require_finite
from gensweep.metrics.probe import LinearProbe, fit_probe

__all__ = [
    "Classifier",
    "LabelledReference",
    "detail_name",
    "fit_classifier",
    "require_classes",
    "require_labels",
]

#: Without a test split a classifier is tested on every fifth training image, which it is not fitted to.
HELD_OUT_STRIDE = 5


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear probe, and its accuracy on real images that it has not seen."""

    probe: LinearProbe
    ceiling: float


@runtime_checkable
class LabelledReference(Protocol):
    """Real images as an extractor sees them, with their classes; of a large set, evenly chosen ones."""

    @property
    def features(self) -> Float[Tensor, "k d"]:
        """Their features, on the CPU."""

    @property
    def labels(self) -> Int[Tensor, " k"]:
        """Their classes, on the CPU."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What people call the classes."""

    def classifier(self) -> Classifier:
        """What tells the classes apart."""
        ...


def fit_classifier(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    unseen: tuple[Float[Tensor, "m d"], Int[Tensor, " m"]] | None = None,
) -> Classifier:
    """A probe of all images, with its accuracy on `unseen` ones.

    Without them it is that of a probe which is fitted without every fifth image, on these.
    Raises GensweepError for fewer than 2 classes, or images too few to hold one out.
    """
    if unseen is not None:
        probe = fit_probe(features, labels, classes)
        return Classifier(probe, probe.accuracy(*unseen))
    held_out = torch.arange(len(labels)) % HELD_OUT_STRIDE == HELD_OUT_STRIDE - 1
    tested = fit_probe(features[~held_out], labels[~held_out], classes)
    ceiling = tested.accuracy(features[held_out], labels[held_out])
    return Classifier(fit_probe(features, labels, classes), ceiling)


def require_classes(reference: LabelledReference, metric: str) -> tuple[str, ...]:
    """The names of the classes.  Raises ConfigError if there is only one."""
    names = reference.class_names
    if len(names) < 2:
        raise ParameterError(
            "metrics",
            f"{metric} compares classes, but the data have only one ({', '.join(names)}); "
            f"take {metric} out, or name more classes",
        )
    return names


def require_labels(
    output: tuple[Float[Tensor, "b d"], Int[Tensor, " b"]], classes: int
) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
    """The same.  Raises GensweepError if a feature is NaN or infinite or a label is not that of a class."""
    features, labels = output
    require_finite(features)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise GensweepError(
            f"labels of generated images must be in 0..{classes - 1}, but go from {int(labels.min())} "
            f"to {int(labels.max())}; judge against data with the model's classes"
        )
    return features.detach(), labels


def detail_name(class_name: str) -> str:
    """The name of a class as MLflow takes it in the name of a metric."""
    return re.sub(r"[^\w.\- ]", "_", class_name)
