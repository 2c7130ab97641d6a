"""A linear classifier on the features of a frozen extractor.

Shapes: n images, d features, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gensweep.errors import GensweepError
from gensweep.metrics.moments import require_finite

#: Candidate ridge penalties, as multiples of the mean eigenvalue of the features' scatter.
PROBE_PENALTIES = tuple(10.0 ** (power / 2) for power in range(-12, 5))
#: Without unseen images, every fifth image is held out to test the classifier.
HELD_OUT_STRIDE = 5


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear probe, and its correct and total predictions on unseen real images by class."""

    probe: nn.Linear
    ceiling: float


def predicted(probe: nn.Linear, features: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
    """The most probable class of each image, on the probe's device."""
    return probe(features.to(probe.weight)).argmax(1)  # type: ignore[no-any-return]


def accuracy(
    probe: nn.Linear, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], counts: Int[Tensor, " k"]
) -> float:
    """Accuracy, 0 to 1, if classes occur in proportion to the counts.

    Raises GensweepError if no image has these classes.
    """
    weights = (counts / torch.bincount(labels, minlength=len(counts)).clamp(min=1))[labels]
    if not weights.any():
        raise GensweepError("an accuracy needs at least 1 image, but there are none")
    right = predicted(probe, features).cpu() == labels
    return float(weights[right].sum() / weights.sum())


def fit_classifier(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    unseen: tuple[Float[Tensor, "m d"], Int[Tensor, " m"]] | None = None,
) -> Classifier:
    """Fit a probe to all images and test it on `unseen` ones.

    Without them, a probe fitted without every fifth image, counted class by class, is tested on these.
    Raises GensweepError for fewer than 2 classes, or too few images to hold one out.
    """
    probe, counts = fit_probe(features, labels, classes), torch.bincount(labels, minlength=classes)
    if unseen is not None:
        return Classifier(probe, accuracy(probe, *unseen, counts))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    held_out[labels.argsort(stable=True)] = torch.arange(len(labels)) % HELD_OUT_STRIDE == HELD_OUT_STRIDE - 1
    tested = fit_probe(features[~held_out], labels[~held_out], classes)
    return Classifier(probe, accuracy(tested, features[held_out], labels[held_out], counts))


def fit_probe(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int) -> nn.Linear:
    """Ridge regression on one-hot labels, with the penalty of least leave-one-out squared error.

    A class without images is never predicted.
    Raises GensweepError for images of fewer than 2 classes, or NaN features.
    Source: Golub, Heath & Wahba 1979, eq. 1.4 (PRESS), as in scikit-learn's RidgeCV.
    """
    from sklearn.linear_model import RidgeCV  # importing it takes a second

    n = len(features)
    if (found := int((torch.bincount(labels, minlength=classes) > 0).sum())) < 2:
        raise GensweepError(f"a probe needs images of at least 2 classes, but all {n} are of {found}")
    require_finite(features)
    x = features.double()
    scale = x.var(0, correction=0).mean().clamp(min=torch.finfo(torch.float64).eps) * n
    penalties = torch.tensor(PROBE_PENALTIES, dtype=torch.float64) * scale
    found = RidgeCV(penalties.numpy()).fit(x.numpy(), one_hot(labels, classes).double().numpy())
    return linear(torch.from_numpy(found.coef_), torch.from_numpy(found.intercept_))


def linear(weight: Float64[Tensor, "k d"], bias: Float64[Tensor, " k"]) -> nn.Linear:
    """The layer with these weights; its outputs approximate class probabilities, but may leave 0..1."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype, device="meta")
    layer.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return layer.requires_grad_(False)
