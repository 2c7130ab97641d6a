"""Pareto fronts: rows of values, all better the lower, that no other row beats in every column."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

Row = tuple[float, ...]


def pareto_front(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """True for each row on the front: no other is at least as small in every column and smaller in one.

    NaN counts as infinite; columns of only NaN are ignored.
    """
    filled = [tuple(math.inf if value is None else value for value in row) for row in rows]
    front = list[Row]()
    # In this order, a row that beats another comes before it, and one of those is on the front.
    for row in sorted(set(filled)):
        if not any(all(map(operator.le, other, row)) for other in front):
            front.append(row)
    on_front = set(front)
    return [row in on_front for row in filled]


def volume(rows: Sequence[Row], limit: Row) -> float:
    """The hypervolume of a front: of the part of the space below `limit` in which some row beats every point."""
    if not limit:
        return 1.0 if rows else 0.0
    ordered = sorted((row for row in rows if row[-1] < limit[-1]), key=operator.itemgetter(-1))
    total, ends = 0.0, [*(row[-1] for row in ordered[1:]), limit[-1]]
    for count, (row, end) in enumerate(zip(ordered, ends, strict=False), 1):
        total += (end - row[-1]) * volume([each[:-1] for each in ordered[:count]], limit[:-1])
    return total


def front_positions(rows: Sequence[Row]) -> list[int]:
    """The position of each row, the best first: front by front, and in a front by the volume that only it covers.

    Units do not matter, as each value counts by its rank in its column.
    Source: Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving".
    """
    ranks = [{value: rank for rank, value in enumerate(sorted(set(column)))} for column in zip(*rows, strict=True)]
    ranked = [tuple(float(rank[value]) for rank, value in zip(ranks, row, strict=True)) for row in rows]
    limit, left, order = tuple(float(len(rank)) for rank in ranks), list(range(len(rows))), list[int]()
    while left:
        flags = pareto_front([ranked[each] for each in left])
        front = [each for each, on_front in zip(left, flags, strict=True) if on_front]
        whole = {ranked[each] for each in front}
        alone = {row: volume([*whole], limit) - volume([*(whole - {row})], limit) for row in whole}
        order += sorted(front, key=lambda each: -alone[ranked[each]])
        left = [each for each, on_front in zip(left, flags, strict=True) if not on_front]
    return sorted(range(len(rows)), key=order.__getitem__)
