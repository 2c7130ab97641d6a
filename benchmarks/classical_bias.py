"""Two classical estimates of the bias of few images, which check gensweep's own.

Shapes: n images, d features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.metrics.frechet import factor, frechet_distance
from gensweep.metrics.uncertainty import Target


def first_order_bias(covariance: Float64[Tensor, "d d"], target: Target, n: int) -> float:
    """The expected excess of the distance from n normal features with this covariance, to first order in 1 / n.

    1/n [Tr S + 1/2 sum_ij s_i s_j / (s_i + s_j) + 1/4 sum_i s_i], where s_i^2 are the eigenvalues of L^T S L: the
    second derivative of Tr (L^T S L)^1/2 on the covariance of a Wishart matrix.
    """
    s = torch.linalg.svdvals(target.factor.T @ factor(covariance))
    s = s[s > 0]
    pairs = (s[:, None] * s / (s[:, None] + s)).sum()
    return float(covariance.trace() + pairs / 2 + s.sum() / 4) / n


def extrapolated_distance(
    features: Float[Tensor, "n d"], target: Target, *, sizes: Sequence[int], generator: torch.Generator
) -> float:
    """FD-infinity: distances of random subsets of these sizes, as a line over 1 / size, read off at 0.

    Source: Chong & Forsyth 2020, section 4.
    """
    distances = []
    for size in sizes:
        chosen = torch.randperm(len(features), generator=generator)[:size]
        x = features[chosen]
        distances.append(frechet_distance(x.mean(0), x.T.cov(), target.mean, target.covariance))
    inverse = 1 / torch.tensor(sizes, dtype=torch.float64)
    line = torch.linalg.lstsq(
        torch.stack([torch.ones_like(inverse), inverse], 1), torch.tensor(distances)[:, None].double()
    )
    return float(line.solution[0, 0])
