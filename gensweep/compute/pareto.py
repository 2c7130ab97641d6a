"""Which rows no other row beats in every column."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Whether each row is on the front: no other is at least as small in every column and smaller in one.

    What is not known is taken for infinitely large; a column that is unknown everywhere plays no part.
    """
    filled = [tuple(math.inf if value is None else value for value in row) for row in rows]
    return [not any(_beats(other, row) for other in filled) for row in filled]


def _beats(first: Sequence[float], second: Sequence[float]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
