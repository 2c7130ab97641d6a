"""Pairs of features, block by block: no matrix of all pairs is ever held.

Shapes: n and m features of d numbers.  Everything is in float64, since |x|^2 + |y|^2 - 2 x.y loses half of its digits
where two images are alike; only `NearestSearch` looks in float32, and then measures.
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
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], k: int = 1, *, without_own: bool = False
) -> tuple[Float64[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """The k nearest y of each x, the nearest first: distances and positions in y.  k < m must hold.

    If x and y are the same, an image is left out of its own neighbours by `without_own`.
    """
    distance = x.new_full((len(x), k), torch.inf, dtype=torch.float64)
    position = torch.zeros(len(x), k, dtype=torch.int64, device=x.device)
    for rows, columns, squared in _squared_distances(x, y):
        if without_own:
            _leave_out_own(squared, rows.start, columns.start)
        near, where = squared.topk(min(k, squared.shape[1]), largest=False)
        both = torch.cat([distance[rows], near.sqrt_()], 1), torch.cat([position[rows], where + columns.start], 1)
        distance[rows], order = both[0].topk(k, largest=False)
        position[rows] = both[1].gather(1, order)
    return distance, position


class NearestSearch:
    """The nearest of many features y to some x, several times as fast as `nearest`.

    It looks in float32 for the nearest one and measures the distance to that in float64.  Of images whose distances
    differ by less than the rounding of float32, it may take another than the nearest.
    """

    def __init__(self, y: Float[Tensor, "m d"]) -> None:
        # What all images have in common would cost digits.
        self._mean = y.mean(0, dtype=torch.float64)
        self._y = self._centred(y)
        self._squares = self._y.square().sum(1)

    def nearest(self, x: Float[Tensor, "n d"] | None = None) -> tuple[Float64[Tensor, " n"], Int64[Tensor, " n"]]:
        """Distance and position in y of the nearest y of each x; without x, of the nearest other y of each y."""
        centred = self._y if x is None else self._centred(x)
        distance = centred.new_zeros(len(centred), dtype=torch.float64)
        position = torch.zeros(len(centred), dtype=torch.int64, device=centred.device)
        for i in range(0, len(centred), BLOCK_ROWS):
            rows, found = centred[i : i + BLOCK_ROWS], position[i : i + BLOCK_ROWS]
            least = torch.full_like(rows[:, 0], torch.inf)
            for j in range(0, len(self._y), BLOCK_ROWS):
                y = self._y[j : j + BLOCK_ROWS]
                apart = torch.addmm(self._squares[j : j + BLOCK_ROWS], rows, y.T, alpha=-2)
                if x is None:
                    _leave_out_own(apart, i, j)
                near, where = apart.min(1)
                found.copy_(torch.where(near < least, where + j, found))
                least = torch.minimum(near, least)
            distance[i : i + BLOCK_ROWS] = (rows.double() - self._y[found].double()).norm(dim=1)
        return distance, position

    def _centred(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return torch.cat([(rows.double() - self._mean).float() for rows in torch.split(x, BLOCK_ROWS)])


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


def _leave_out_own(apart: Float[Tensor, "b c"], row: int, column: int) -> None:
    """Make each image's distance to itself infinite, in a block that begins at this row and column of all pairs."""
    rows, columns = (torch.arange(n, device=apart.device) for n in apart.shape)
    apart.masked_fill_(rows[:, None] + row == columns + column, torch.inf)
