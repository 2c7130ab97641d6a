"""Pairs of features, on the CPU.

Shapes: n and m features of d numbers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


def nearest(
    y: Float[Tensor, "m d"], x: Float[Tensor, "n d"] | None = None, k: int = 1
) -> tuple[Float64[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """The k nearest y of each x, the nearest first: distances and positions in y; without x, of each y the other y.

    k < m must hold.
    """
    from sklearn.neighbors import NearestNeighbors  # whose import takes a second

    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(y.numpy(force=True))
    distance, position = search.kneighbors(None if x is None else x.numpy(force=True))
    return torch.from_numpy(distance).double().to(y.device), torch.from_numpy(position).to(y.device)


def covering(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], radii: Float64[Tensor, " m"]
) -> Int64[Tensor, " n"]:
    """In how many of the balls each point lies; a ball's surface belongs to it."""
    from sklearn.metrics import pairwise_distances_chunked  # whose import takes a second

    # In float64, as |x|^2 + |y|^2 - 2 x.y loses half of its digits where two images are alike.
    x, y, reach = (each.double().numpy(force=True) for each in (points, centres, radii))
    counts = pairwise_distances_chunked(x, y, reduce_func=lambda distances, _: (distances <= reach).sum(1))
    return torch.cat([torch.from_numpy(count) for count in counts]).to(points.device)
