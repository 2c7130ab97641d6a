"""Which rows no other row beats in every column."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Whether each row is on the front: no other is at least as small in every column and smaller in one.

    What is not known is taken for infinitely large; a column that is unknown everywhere plays no part.
    """
    filled = [tuple(math.inf if value is None else value for value in row) for row in rows]
    front, on_front = list[tuple[float, ...]](), [False] * len(rows)
    # Whatever beats a row stands before it in this order, and then one of the front does, too.
    for index in sorted(range(len(rows)), key=filled.__getitem__):
        row = filled[index]
        if not any(_beats(other, row) for other in front):
            front.append(row)
            on_front[index] = True
    return on_front


def _beats(first: Sequence[float], second: Sequence[float]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
