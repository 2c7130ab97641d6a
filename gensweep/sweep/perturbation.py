"""What population based training may make of values that are searched: how they are drawn anew, and their bounds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gensweep.config.prior import quantile
from gensweep.config.ranges import Choices, Node, Range, grid_of


def mutations(nodes: Sequence[Node]) -> dict[str, list[Any] | Callable[[], int | float]]:
    """By key, the values of a choice or of a range with steps, whose neighbours are tried, or what draws a number."""
    found: dict[str, list[Any] | Callable[[], int | float]] = {}
    for node in nodes:
        if isinstance(node, Choices):
            found[node.key] = list(node.values)
        elif isinstance(node, Range):
            found[node.key] = grid_of(node) if node.step is not None else partial(_drawn, node)
    return found


def clipped(config: Mapping[str, Any], nodes: Sequence[Node]) -> dict[str, Any]:
    """The same values, none beyond its range: a factor may lead out of it."""
    within = dict(config)
    for node in nodes:
        if isinstance(node, Range):
            within[node.key] = min(max(within[node.key], node.low), node.high)
    return within


def _drawn(node: Range) -> int | float:
    """A number of a range without steps, from the global state of randomness, as Tune asks for it."""
    if node.prior is not None:
        return quantile(node, node.prior, random.random())
    if node.log:
        # Whole numbers of a logarithmic range are rounded, so its ends reach half a step further.
        beyond = 0.5 if node.integer else 0.0
        number = math.exp(random.uniform(math.log(node.low - beyond), math.log(node.high + beyond)))
        return min(max(round(number) if node.integer else number, node.low), node.high)
    return random.randint(int(node.low), int(node.high)) if node.integer else random.uniform(node.low, node.high)
