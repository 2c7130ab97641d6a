"""Do generated images show their class?  Measured by a linear probe.

Shapes: b images in a batch, d features, k classes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.errors import GensweepError, ParameterError
from gensweep.metrics.metric import METRICS, Metric, require_generated, require_real, summed
from gensweep.metrics.moments import require_finite
from gensweep.metrics.probe import HELD_OUT_STRIDE, predicted
from gensweep.metrics.real import Real
from gensweep.results import Mode

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


def detail_names(class_names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Class names that are valid in the name of a metric; repeated and `taken` ones get their number."""
    names = [re.sub(r"[^\w.\- ]", "_", name) for name in class_names]
    return [f"{name}_{label}" if name in taken or names.count(name) > 1 else name for label, name in enumerate(names)]


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
