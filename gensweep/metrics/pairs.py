"""Pairs of features, block by block: no matrix of all pairs is ever held.

Shapes: n and m features of d numbers.  Everything is in float64, since |x|^2 + |y|^2 - 2 x.y loses half of its digits
where two images are alike.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

#: Rows and columns of a block of pairs: 34 MB in float64.
BLOCK_ROWS = 2048


def products(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Iterator[tuple[slice, slice, Float64[Tensor, "b c"]]]:
    """The products of all pairs: which rows of x, which of y, and their products."""
    for i in range(0, len(x), BLOCK_ROWS):
        rows = x[i : i + BLOCK_ROWS].double()
        for j in range(0, len(y), BLOCK_ROWS):
            columns = y[j : j + BLOCK_ROWS].double()
            yield slice(i, i + len(rows)), slice(j, j + len(columns)), rows @ columns.T


def nearest(
    y: Float[Tensor, "m d"], x: Float[Tensor, "n d"] | None = None, k: int = 1
) -> tuple[Float64[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """The k nearest y of each x, the nearest first: distances and positions in y; without x, of each y the other y.

    k < m must hold.  It is computed on the CPU.
    """
    from sklearn.neighbors import NearestNeighbors  # whose import takes a second

    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(y.numpy(force=True))
    distance, position = search.kneighbors(None if x is None else x.numpy(force=True))
    return torch.from_numpy(distance).double().to(y.device), torch.from_numpy(position).to(y.device)


def covering(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], radii: Float64[Tensor, " m"]
) -> Int64[Tensor, " n"]:
    """In how many of the balls each point lies; a ball's surface belongs to it."""
    count = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for rows, columns, squared in _squared_distances(points, centres):
        count[rows] += (squared.sqrt_() <= radii[columns]).sum(1)
    return count


def _squared_distances(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]
) -> Iterator[tuple[slice, slice, Float64[Tensor, "b c"]]]:
    of_x, of_y = (z.double().square().sum(1) for z in (x, y))
    for rows, columns, product in products(x, y):
        yield rows, columns, product.mul_(-2).add_(of_x[rows, None]).add_(of_y[columns]).clamp_(min=0)
