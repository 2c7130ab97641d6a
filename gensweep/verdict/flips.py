"""Where two curves cross, and how sure that is.

Shapes: b budgets in ascending order, r draws of the bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from gensweep.verdict.expected_best import TAIL


@dataclass(frozen=True)
class Flip:
    """A budget below which one group is the best, and above which another one is, with its 95 % interval.

    An end of the interval is None where the curves may cross outside the budgets that were looked at, or not at all.
    """

    value: float
    low: float | None
    high: float | None
    below: str
    above: str

    @property
    def supported(self) -> bool:
        """Whether the best group surely changes within the budgets."""
        return self.low is not None and self.high is not None


def flips_between(
    budgets: Float64[ndarray, " b"],
    difference: Float64[ndarray, " b"],
    draws: Float64[ndarray, "r b"],
    column: int,
) -> tuple[float, float | None, float | None]:
    """Where the difference, "the group below less the group above", turns from negative to positive, and its interval.

    It is negative at `column` and not at the next one.  A draw crosses at its own crossing that is nearest; one that
    has none crosses beyond the last budget if the group below is the better one there, else before the first.
    """
    positions = np.log(budgets)
    value = _crossings(positions, difference[None])[0, column]
    places = _crossings(positions, draws)
    places[:, -1] = np.where(draws[:, -1] < 0, np.inf, -np.inf)  # taken by draws without a crossing
    distances = np.abs(places - value)
    nearest = np.take_along_axis(places, np.argmin(np.nan_to_num(distances, nan=np.inf), 1)[:, None], 1)[:, 0]
    without = np.isnan(places[:, :-1]).all(1)
    nearest = np.where(without, places[:, -1], nearest)
    low, high = (np.quantile(nearest, end, method="inverted_cdf") for end in (TAIL, 1 - TAIL))
    return float(np.exp(value)), _inside(low), _inside(high)


def _crossings(positions: Float64[ndarray, " b"], differences: Float64[ndarray, "r b"]) -> Float64[ndarray, "r b"]:
    """Where each difference crosses between a budget and the next, linearly; NaN where it does not, and at the last."""
    before, after = differences[:, :-1], differences[:, 1:]
    row, column = np.nonzero((before < 0) & (after >= 0))
    with np.errstate(invalid="ignore"):
        share = before[row, column] / (before[row, column] - after[row, column])
    share = np.nan_to_num(share, nan=1.0)  # from a group that a budget does not pay for
    places = np.full(differences.shape, np.nan)
    places[row, column] = positions[column] + share * np.diff(positions)[column]
    return places


def _inside(position: float) -> float | None:
    return float(np.exp(position)) if np.isfinite(position) else None
