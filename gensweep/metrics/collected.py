"""Metrics of pairs of images, which keep features until all images are there.

They compare the first `MAX_FEATURES_KEPT` generated images with as many real ones, evenly chosen from all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.metrics.metric import MAX_FEATURES_KEPT, Metric, in_order, require_generated, require_real
from gensweep.metrics.moments import require_finite
from gensweep.metrics.real import Real, spread


class CollectedFeatures(Metric):
    """The base of metrics of pairs: `name` is for messages, `fewest` how many generated and real images they need."""

    reference: Real
    name: ClassVar[str]
    fewest: ClassVar[int] = 2

    @classmethod
    def check_reference(cls, real: Real) -> None:
        """Raise ParameterError if real images are fewer than `fewest`."""
        require_real(len(real.labels), cls.fewest, cls.name)

    @classmethod
    def check_generated(cls, labels: Int[Tensor, " n"], class_names: Sequence[str]) -> None:
        """Raise GensweepError if generated images are fewer than `fewest`."""
        require_generated(len(labels), cls.fewest, cls.name)

    def reset(self) -> None:
        """Forget all features."""
        # Batches as they come: all metrics of an evaluation hold the same ones, and memory is taken once.
        self._batches: list[Tensor] = []
        self._count = 0

    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Take in the features of generated images."""
        features = output.detach().to(self._device, torch.float32)
        require_finite(features)
        self._batches.append(features[: MAX_FEATURES_KEPT - self._count])
        self._count += len(self._batches[-1])

    def _generated(self) -> Float[Tensor, "n d"]:
        """Those of all processes, in their order.  Raises GensweepError if they are fewer than `fewest`."""
        none = torch.zeros(0, self.reference.features.shape[1], device=self._device)
        features = in_order(torch.cat([none, *self._batches]))[:MAX_FEATURES_KEPT]
        require_generated(len(features), self.fewest, self.name)
        return features

    def _real(self, most: int | None = None) -> Float[Tensor, "m d"]:
        """Real features, on the device.  Raises ParameterError if they are fewer than `fewest`."""
        features = self.reference.features
        require_real(len(features), self.fewest, self.name)
        return features[spread(len(features), most or MAX_FEATURES_KEPT)].to(self._device)
