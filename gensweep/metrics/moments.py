"""Mean, covariance and variation of a stream of features, accumulated by matrix products in float64.

Shapes: b features in a batch, d numbers a feature, s = 1 + d + d^2 numbers in a state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.errors import GensweepError

#: Rows per panel of the upper triangle of the outer products, which almost halves the work.
PANEL_ROWS = 256


class Moments:
    """Count, sum and sum of outer products of features.

    All three live in one flat float64 tensor `state`, so merging two streams is an addition, and reducing over
    processes is one all-reduce whatever the number of features.
    """

    def __init__(
        self, num_features: int, device: torch.device | str = "cpu", *, state: Float64[Tensor, " s"] | None = None
    ) -> None:
        size = 1 + num_features + num_features**2
        self.num_features = num_features
        self.state = torch.zeros(size, dtype=torch.float64, device=device) if state is None else state

    @classmethod
    def of(cls, features: Float[Tensor, "b d"]) -> Moments:
        """The moments of one batch."""
        moments = cls(features.shape[1], features.device)
        moments.update(features)
        return moments

    @property
    def count(self) -> int:
        """The number of features seen."""
        return int(self.state[0].item())

    @property
    def total(self) -> Float64[Tensor, " d"]:
        """The sum of the features, a view of `state`."""
        return self.state[1 : 1 + self.num_features]

    @property
    def outer(self) -> Float64[Tensor, "d d"]:
        """The sum of the features' outer products, a view of `state`; only its upper triangle is kept up to date."""
        return self.state[1 + self.num_features :].view(self.num_features, self.num_features)

    def update(self, features: Float[Tensor, "b d"]) -> None:
        """Add a batch, which may be empty.  Raises GensweepError if a feature is NaN or infinite."""
        x = features.detach().to(self.state)
        total = x.sum(0)
        require_finite(x, total)
        self.state[0] += len(x)
        self.total.add_(total)
        for i in range(0, self.num_features, PANEL_ROWS):
            self.outer[i : i + PANEL_ROWS, i:].addmm_(x[:, i : i + PANEL_ROWS].T, x[:, i:])

    @property
    def mean(self) -> Float64[Tensor, " d"]:
        """The mean of the features.  Raises GensweepError if there are none."""
        if self.count < 1:
            raise GensweepError("a mean needs at least 1 image, but there are none")
        return self.total / self.count

    @property
    def covariance(self) -> Float64[Tensor, "d d"]:
        """The covariance with divisor count - 1, exactly symmetric.  Raises GensweepError below 2 images."""
        n = self.count
        if n < 2:
            raise GensweepError(f"a covariance needs at least 2 images, but got {n}; raise the number of samples")
        upper = torch.addr(self.outer, self.total, self.total, alpha=-1 / n).div_(n - 1).triu_()
        return upper + upper.triu(1).T


def require_finite(features: Float[Tensor, "b d"], total: Float[Tensor, " d"] | None = None) -> None:
    """Raise GensweepError with their number if features are NaN or infinite; `total` is their sum, if known."""
    total = features.sum(0, dtype=torch.float64) if total is None else total
    # finite only if every feature is
    if bool(torch.isfinite(total).all()):
        return
    bad = int((~torch.isfinite(features)).any(dim=1).sum())
    raise GensweepError(
        f"{bad} of {len(features)} images have NaN or infinite features: no distance can be computed; "
        "look at the images, and use an extractor with precision float32 on this device"
    )


class Variation(NamedTuple):
    """Variation of features: their total variance, and its concentration on few directions.

    `concentration` is Tr S^2 / (Tr S)^2 of their covariance S: 1 in a single direction, 1/k spread evenly over k.
    """

    variance: float
    concentration: float


def variation(moments: Moments) -> Variation:
    """Variation of at least 2 features, by estimates without the bias of few images; 0 for equal features.

    With N = count - 1, Tr S^2 is estimated by N^2 / ((N - 1)(N + 2)) (Tr S^2 - (Tr S)^2 / N), exact for Gaussians.
    Raises GensweepError below 2 features.  Source: Srivastava 2005, "Some tests concerning the covariance matrix".
    """
    covariance, n = moments.covariance, moments.count - 1
    variance = max(0.0, float(covariance.trace()))
    if n < 2 or not variance:
        return Variation(variance, 0.0)
    squared = (float(covariance.square().sum()) - variance**2 / n) * n**2 / ((n - 1) * (n + 2))
    return Variation(variance, max(0.0, squared / variance**2))


def diversity(generated: Variation, reference: Variation) -> float:
    """Diversity relative to the reference: 0 if all images are alike, 1 if as diverse.

    It is the smaller ratio of two quantities: the variance, half the mean squared distance of two images, and the
    number of directions, 1 / concentration.  The first falls if all images are nearly the same, the second also if
    there are only a few different ones, such as one per class.
    """
    if not reference.variance:
        return 1.0
    spread = min(1.0, generated.variance / reference.variance)
    if generated.concentration <= reference.concentration:
        return spread
    return min(spread, reference.concentration / generated.concentration)
