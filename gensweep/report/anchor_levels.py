"""Floor and ceiling of scores as levels in figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gensweep.report.plots import Level, Note
from gensweep.report.wording import rough
from gensweep.results import Anchor

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison

#: A ceiling is left out where it would make the axis more than this many times as long.
MAX_STRETCH = 3.0


def anchor_levels(comparison: Comparison, heights: Sequence[float]) -> list[Level]:
    """The levels of a figure that shows scores at some heights; a ceiling far beyond them would flatten everything."""
    floor, ceiling = comparison.anchors
    levels = [] if floor is None else [_level("real images", f"{floor.images:,} held-out real images", floor)]
    shown = [*heights, *(level.y for level in levels)]
    if ceiling is not None and shown:
        low, high = min(shown), max(shown)
        if max(high, ceiling.value) - min(low, ceiling.value) <= MAX_STRETCH * (high - low):
            levels.append(_level(ceiling.source, ceiling.source, ceiling))
    return levels


def _level(name: str, words: str, anchor: Anchor) -> Level:
    low, high = anchor.interval or (None, None)
    ends = "" if low is None or high is None else f" ({rough(low)} to {rough(high)})"
    return Level(name, anchor.value, Note((words, f"{rough(anchor.value)}{ends}")), anchor.interval)
