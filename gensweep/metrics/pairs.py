"""Pairs of features, block by block: no matrix of all pairs is ever held.

Shapes: n and m features of d numbers.  Everything is in float64, since |x|^2 + |y|^2 - 2 x.y loses half of its digits
where two images are alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float, Float64
from torch import Tensor

__all__ = ["BLOCK", "products"]

#: A block has so many rows and columns, 34 MB.
BLOCK = 2048


def products(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Iterator[tuple[slice, slice, Float64[Tensor, "b c"]]]:
    """The products of all pairs: which rows of x, which of y, and their products."""
    for i in range(0, len(x), BLOCK):
        rows = x[i : i + BLOCK].double()
        for j in range(0, len(y), BLOCK):
            columns = y[j : j + BLOCK].double()
            yield slice(i, i + len(rows)), slice(j, j + len(columns)), rows @ columns.T
