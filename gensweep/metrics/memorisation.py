"""Does a model reproduce its training images?  Distances of generated images to their nearest training images.

Shapes: b generated images in a batch, n in all, m training images, d features.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from gensweep.metrics.metric import METRICS, Metric, in_order, require_generated
from gensweep.metrics.moments import require_finite
from gensweep.metrics.real import nearest
from gensweep.results import Mode

#: A copy is at least as near to a training image as the nearest 1 % of training images are to each other ...
COPY_QUANTILE = 0.01
#: ... or nearer than this share of their median distance, which exceeds rounding for identical training images.
COPY_MEDIAN_SHARE = 0.01


@METRICS.register("authpct")
class AuthenticShare(Metric):
    """Percentage of generated images that are not too near to a training image, 0 to 100; higher is better.

    An image is authentic if it is farther from its nearest training image than that is from the nearest other one.  Of
    unseen real images slightly more than half are authentic, as the nearest image is often near to many; compare a
    score with that of a test split.  A model that memorised its training images scores 0, and a model of
    unrelated images 100, so do not optimise this metric.  The detail `memorised` is the share of generated images as
    near to a training image as the nearest 1 % of these are to each other, about 0.01 for unseen real images.  Source:
    Alaa et al. 2022, section 3.3 and appendix; over all features, as Stein et al. 2023 do.
    """

    mode: ClassVar[Mode] = "max"
    name, fewest = "authpct", 2
    of_training: ClassVar[bool] = True
    fooled_by_noise: ClassVar[bool] = True

    def reset(self) -> None:
        """Forget all images."""
        self._found = torch.zeros(0, 2, dtype=torch.float64, device=self._device)

    def update(self, output: Float[Tensor, "b d"]) -> None:
        """Find the training images nearest to generated ones."""
        features = output.detach().to(self._device)
        require_finite(features)
        if len(features):
            # Keeps sixteen bytes per image.
            found = torch.cat(nearest(self.reference.features, features), 1)
            self._found = torch.cat([self._found, found.to(self._found)])

    def compute(self) -> float:
        """Percentage over the images of all processes."""
        distance, position = self._nearest()
        among = self.reference.distances().to(distance)
        # torch.quantile accepts at most 16 million values; kthvalue needs no interpolation here.
        near = among.kthvalue(max(1, round(COPY_QUANTILE * len(among)))).values
        memorised = distance <= near.clamp(min=COPY_MEDIAN_SHARE * among.median())
        self.details = {"memorised": float(memorised.double().mean())}
        return 100 * float((distance > among[position]).double().mean())

    def suspects(self, most: int) -> tuple[Int64[Tensor, " k"], UInt8[Tensor, "k c h w"]]:
        """Indices of the generated images nearest to a training image, nearest first, and those training images."""
        distance, position = self._nearest()
        order = distance.argsort(stable=True)[:most]
        return order.cpu(), self.reference.pixels(position[order].cpu())

    def _nearest(self) -> tuple[Float64[Tensor, " n"], Int64[Tensor, " n"]]:
        found = in_order(self._found)
        require_generated(len(found), self.fewest, self.name)
        return found[:, 0], found[:, 1].long()


@METRICS.register("memorised")
class MemorisedShare(AuthenticShare):
    """Share of generated images that look like copies of training images, the detail of `authpct`; lower is better."""

    mode: ClassVar[Mode] = "min"
    name = "memorised"

    def compute(self) -> float:
        """The share over the images of all processes, with a standard error that is above 0."""
        super().compute()
        share, count = self.details["memorised"], len(self._nearest()[0])
        smoothed = (share * count + 1) / (count + 2)
        self.details = {"standard_error": math.sqrt(smoothed * (1 - smoothed) / count)}
        return share
