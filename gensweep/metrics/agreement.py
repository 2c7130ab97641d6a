"""Do generated images show the class that they were drawn for?  A linear probe on the extractor's features decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.classes import LabelledReference, detail_name, require_classes, require_labels
from gensweep.metrics.metric import METRICS, Mode, Needs
from gensweep.metrics.moments import require_num_features
from gensweep.metrics.processes import Metric, follow_process_group, reinit__is_reduced, sync_all_reduce, with_float64

__all__ = ["Agreement"]


@METRICS.register("agreement")
class Agreement(Metric):
    """The share of generated images that a classifier takes for the class they were drawn for, 0 to 1.

    The classifier is a linear probe on the features of the training images.  Its accuracy on real images that it has
    not seen, the detail `ceiling`, is about what a perfect generator would get; a model that draws the most typical
    images of each class, as guidance makes it, gets more.  Source: the classification accuracy score turned round
    (Ravuri & Vinyals 2019 train on generated images and test on real ones); Shmelkov et al. 2018, "GAN-test".
    """

    mode: ClassVar[Mode] = "max"
    needs: ClassVar[Needs] = "samples"
    labelled: ClassVar[bool] = True
    of_training: ClassVar[bool] = True
    _state_dict_all_req_keys = ("_state",)

    def __init__(
        self, reference: LabelledReference, num_features: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.class_names = require_classes(reference, "agreement")
        classifier = reference.classifier()
        require_num_features(len(classifier.probe.weights), num_features)
        self._probe, self._ceiling = classifier.probe, classifier.ceiling
        self._matrix = torch.zeros(0)
        super().__init__(device=with_float64(device))
        self._probe = self._probe.to(self._device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all images."""
        k = len(self.class_names)
        self._state = torch.zeros(k, k, dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]) -> None:
        """Take in features of generated images and their labels, which may be none.

        Raises GensweepError if a feature is NaN or infinite or a label is not that of a class.
        """
        features, labels = require_labels(output, len(self.class_names))
        if len(features):
            drawn, taken = labels.to(self._device), self._probe.predict(features.to(self._device))
            self._state.index_put_((drawn, taken), self._state.new_ones(len(drawn)), accumulate=True)

    def compute(self) -> float:
        """The share over the images of all processes.  Raises GensweepError if there are none."""
        follow_process_group()
        self._matrix = self._reduced()
        if not float(self._matrix.sum()):
            raise GensweepError("agreement needs at least 1 generated image, but got none; raise evaluation.samples")
        return float(self._matrix.trace() / self._matrix.sum())

    def details(self) -> Mapping[str, float]:
        """The classifier's accuracy on unseen real images (`ceiling`), and the score of each class that was drawn."""
        drawn, right = self._matrix.sum(1), self._matrix.diagonal()
        each = zip(self.class_names, drawn.tolist(), right.tolist(), strict=True)
        return {"ceiling": self._ceiling} | {detail_name(name): good / of for name, of, good in each if of}

    @sync_all_reduce("_state")
    def _reduced(self) -> Float64[Tensor, "k k"]:
        return self._state.cpu()
