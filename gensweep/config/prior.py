"""What a user believes of a range before anything is tried, as a change of its scale.

A sampler of a range with a prior sees numbers u in [0, 1], evenly; the value is the quantile of the prior at u.  So
every sampler draws by the prior at first, and takes steps in proportion to it later.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from gensweep.config.ranges import Prior, Range

#: The share of draws that ignore the prior, so that a wrong one costs a factor of five at most.
UNIFORM_SHARE = 0.2
#: Halvings of [0, 1] in the search for a quantile: as many as a float has digits.
HALVINGS = 53


def probability_below(node: Range, prior: Prior, value: float) -> float:
    """The probability of numbers below a value: a normal distribution that is cut off at the ends, and an even one."""
    return _below(_position(node, value), _position(node, prior.value), prior.width)


def quantile(node: Range, prior: Prior, u: float) -> int | float:
    """The number below which others are with the probability u in [0, 1]; one of the steps of the range."""
    center, low, high = _position(node, prior.value), 0.0, 1.0
    for _ in (None,) * HALVINGS:
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, center, prior.width) < u else (low, middle)
    start, end = _ends(node)
    scaled = start + (end - start) * (low + high) / 2
    value = math.exp(scaled) if node.log else scaled
    if (step := _step(node)) is not None:
        value = node.low + step * round((value - node.low) / step)
    value = min(max(value, node.low), node.high)
    return int(value) if node.integer else float(value)


def _below(z: float, center: float, width: float) -> float:
    normal = NormalDist(center, width)
    cut = (normal.cdf(z) - normal.cdf(0)) / (normal.cdf(1) - normal.cdf(0))
    return UNIFORM_SHARE * z + (1 - UNIFORM_SHARE) * cut


def _position(node: Range, value: float) -> float:
    """Where a value lies between the ends, on the scale of the range."""
    start, end = _ends(node)
    return 0.5 if start == end else ((math.log(value) if node.log else value) - start) / (end - start)


def _ends(node: Range) -> tuple[float, float]:
    """Those of the scale: each step has its neighbourhood, as wide as the others'."""
    half = (_step(node) or 0) / 2
    ends = node.low - half, node.high + half
    return (math.log(ends[0]), math.log(ends[1])) if node.log else ends


def _step(node: Range) -> int | float | None:
    return node.step or (1 if node.integer else None)
