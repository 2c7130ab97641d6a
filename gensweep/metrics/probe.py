"""A linear classifier on the features of a frozen extractor.

Shapes: n images, d features, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn.functional import one_hot

from gensweep.errors import GensweepError
from gensweep.metrics.moments import require_finite

#: The ridge penalties that are tried, as multiples of the mean eigenvalue of the features' scatter.
PROBE_PENALTIES = tuple(10.0 ** (power / 2) for power in range(-12, 5))
#: Images that are converted to float64 at a time; bounds the memory.
PROBE_BATCH = 4096
#: Without unseen images a classifier is tested on every fifth one, which it is not fitted to.
HELD_OUT_STRIDE = 5


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Scores of the classes that are linear in the features; `penalty` is the chosen one, not a multiple."""

    weights: Float64[Tensor, "d k"]
    bias: Float64[Tensor, " k"]
    penalty: float

    def to(self, device: torch.device | str) -> LinearProbe:
        """The same on a device."""
        return LinearProbe(self.weights.to(device), self.bias.to(device), self.penalty)

    def scores(self, features: Float[Tensor, "n d"]) -> Float64[Tensor, "n k"]:
        """About the probability of each class, though it may leave 0..1."""
        parts = [rows.to(self.weights) @ self.weights for rows in torch.split(features, PROBE_BATCH)]
        return torch.cat(parts) + self.bias

    def predict(self, features: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """The most probable class of each image."""
        return self.scores(features).argmax(1)

    def accuracy(self, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], counts: Int[Tensor, " k"]) -> float:
        """The share of images whose class is predicted right, 0 to 1, if classes came in proportion to the counts.

        Raises GensweepError if there is no image of those classes.
        """
        weights = (counts / torch.bincount(labels, minlength=len(counts)).clamp(min=1))[labels]
        if not weights.any():
            raise GensweepError("an accuracy needs at least 1 image, but there are none")
        right = self.predict(features).cpu() == labels
        return float(weights[right].sum() / weights.sum())


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear probe, and its accuracy on real images that it has not seen, in proportion to those that it has."""

    probe: LinearProbe
    ceiling: float


def fit_classifier(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    unseen: tuple[Float[Tensor, "m d"], Int[Tensor, " m"]] | None = None,
) -> Classifier:
    """A probe of all images, with its accuracy on `unseen` ones.

    Without them it is that of a probe which is fitted without every fifth image, counted class by class, on these.
    Raises GensweepError for fewer than 2 classes, or images too few to hold one out.
    """
    probe, counts = fit_probe(features, labels, classes), torch.bincount(labels, minlength=classes)
    if unseen is not None:
        return Classifier(probe, probe.accuracy(*unseen, counts))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    held_out[labels.argsort(stable=True)] = torch.arange(len(labels)) % HELD_OUT_STRIDE == HELD_OUT_STRIDE - 1
    tested = fit_probe(features[~held_out], labels[~held_out], classes)
    return Classifier(probe, tested.accuracy(features[held_out], labels[held_out], counts))


def fit_probe(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int) -> LinearProbe:
    """Ridge regression on one-hot labels, with the penalty of the least leave-one-out squared error.

    A class without images is never predicted.
    Raises GensweepError for images of fewer than 2 classes, a label outside 0..classes-1, or NaN features.
    Source: Golub, Heath & Wahba 1979, eq. 1.4 (PRESS), as in scikit-learn's RidgeCV.
    """
    from sklearn.linear_model import RidgeCV  # whose import takes a second

    n = len(features)
    if classes < 2 or n < 2:
        raise GensweepError(f"a probe needs at least 2 classes and 2 images, but got {classes} and {n}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise GensweepError(f"labels must be in 0..{classes - 1}, but go from {int(labels.min())} to {labels.max()}")
    if (found := int((torch.bincount(labels, minlength=classes) > 0).sum())) < 2:
        raise GensweepError(f"a probe needs images of at least 2 classes, but all {n} are of {found}")
    require_finite(features)
    x = features.double()
    scale = x.var(0, correction=0).mean().clamp(min=torch.finfo(torch.float64).eps) * n
    penalties = torch.tensor(PROBE_PENALTIES, dtype=torch.float64) * scale
    found = RidgeCV(penalties.numpy()).fit(x.numpy(), one_hot(labels, classes).double().numpy())
    return LinearProbe(torch.from_numpy(found.coef_.T), torch.from_numpy(found.intercept_), float(found.alpha_))
