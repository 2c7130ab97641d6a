"""The Inception score: are images each clearly of one ImageNet class, and together of many?

Shapes: b images in a batch, k classes of the extractor's network, s bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.errors import ParameterError
from gensweep.metrics.metric import METRICS, Metric, before, require_generated, summed
from gensweep.metrics.moments import require_finite
from gensweep.metrics.real import Real
from gensweep.results import Mode

#: Parts of the images whose scores are averaged.  Source: Salimans et al. 2016, section 4.
SCORE_PARTS = 10
#: Image i is counted in bin i mod COUNTING_BINS, and a part is a tenth of the bins in a row.  The number shares
#: no factor but 10 with usual numbers of classes: each part holds all, whether labels are sorted or come in a cycle.
COUNTING_BINS = 101 * SCORE_PARTS


@METRICS.register("inception_score")
class InceptionScore(Metric):
    """exp of the mean divergence of each image's classes from those of all, 1 to their number; higher is better.

    Real images are not looked at, and neither is variety within a class: a model that draws one good image of each
    class scores best.  It means little for images that are unlike ImageNet's.  It is the mean over ten parts of the
    images, the detail `deviation` their standard deviation; fewer images score lower.
    Source: Salimans et al. 2016, section 4; its faults: Barratt & Sharma 2018.
    """

    mode: ClassVar[Mode] = "max"
    needs_head: ClassVar[bool] = True
    of_training: ClassVar[bool] = True  # in name only: whatever is compared with, the score is the same

    def __init__(self, reference: Real, device: torch.device | str = "cpu") -> None:
        self.check_reference(reference)
        assert reference.head is not None
        self._head = reference.head
        super().__init__(reference, device)

    @classmethod
    def check_reference(cls, real: Real) -> None:
        """Raise ParameterError if the network of the extractor does not classify images."""
        if real.head is None:
            raise ParameterError(
                "metrics",
                "inception_score needs an extractor whose network classifies images; take the extractor inception, or "
                "leave it out",
            )

    @classmethod
    def check_generated(cls, labels: Int[Tensor, " n"], class_names: Sequence[str]) -> None:
        """Raise GensweepError for fewer images than parts."""
        require_generated(len(labels), SCORE_PARTS, "an Inception score")

    def reset(self) -> None:
        """Forget all images."""
        # Of each bin: images, the sum of p log p, and the sum of p, by class.
        self._state = torch.zeros(COUNTING_BINS, 2 + self._head.out_features, dtype=torch.float64, device=self._device)

    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Take in the features of generated images."""
        require_finite(output)
        logits = self._head(output.detach().to(self._head.weight)).to(self._state)
        log_p = logits.log_softmax(1)
        p = log_p.exp()
        seen = torch.cat([torch.ones_like(p[:, :1]), (p * log_p).sum(1, keepdim=True), p], 1)
        bins = (int(self._state[:, 0].sum()) + torch.arange(len(p), device=self._device)) % COUNTING_BINS
        self._state.index_add_(0, bins, seen)

    def compute(self) -> float:
        """The mean of the parts of the images of all processes.  Raises GensweepError if they are fewer than ten."""
        # The images of this process come behind those of the ones before.
        first = before(self._state[:, 0].sum())
        bins = summed(self._state.roll(first % COUNTING_BINS, 0)).cpu()
        bins = bins[bins[:, 0] > 0]
        require_generated(len(bins), SCORE_PARTS, "an Inception score")
        sums = torch.stack([part.sum(0) for part in bins.tensor_split(SCORE_PARTS)])
        mean = sums[:, 2:] / sums[:, :1]
        scores = (sums[:, 1] / sums[:, 0] - torch.special.xlogy(mean, mean).sum(1)).exp()
        self.details = {"deviation": float(scores.std(correction=0))}
        return float(scores.mean())
