"""Pieces of Vega-Lite specifications, and how they become SVG: layers of marks, channels, axes, the look of a page.

Specifications are plain JSON, as in the documentation of Vega-Lite; vl-convert draws them without a browser or network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from gensweep.report.page_svg import LINE_BREAK, printable
from gensweep.report.plots import Axis, Note, is_logarithmic

Spec: TypeAlias = dict[str, Any]
"""A part of a specification, or a row of its data."""

INK, FAINT, GRID, PAGE = "var(--ink)", "var(--faint)", "var(--rule)", "var(--page)"
#: The part of an axis, at each end, that is left free beyond the outermost value.
PADDING = 0.04
#: An axis is at least so long on either side of its values: Vega fails on axes near the smallest floats.
MIN_ROOM = 1e-100
#: More labels of a logarithmic axis than this, and only powers of ten are labelled.
MAX_LOG_LABELS = 7

#: Numbers of an axis: 0.5, 20, 60k, 2M, 20T.
_AXIS_NUMBER = "abs(datum.value) >= 1000 ? format(datum.value, '~s') : format(datum.value, '~g')"
_TEXT_PIXELS = 12
_CONFIG: Spec = {
    "background": "transparent",
    "view": {"stroke": None},
    "text": {"fontSize": _TEXT_PIXELS},
    "axis": {
        "labelFontSize": _TEXT_PIXELS,
        "titleFontSize": _TEXT_PIXELS,
        "titleFontWeight": "normal",
        "labelColor": FAINT,
        "titleColor": FAINT,
        "gridColor": GRID,
        "domainColor": GRID,
        "ticks": False,
        "labelPadding": 6,
    },
}


class Span(NamedTuple):
    """The ends of an axis, and the numbers at its ticks if Vega should not choose them."""

    log: bool
    low: float
    high: float
    ticks: list[float] | None

    def within(self, value: float) -> float:
        """A value, or the end beyond which it lies: on a logarithmic axis not all have a place."""
        return min(max(value, self.low), self.high)


def svg_of(layers: Sequence[Spec], width: int, height: int) -> str:
    """Layers over each other as an SVG of a size in pixels."""
    import vl_convert

    size: Spec = {"width": width, "height": height, "padding": 2, "autosize": {"type": "fit", "contains": "padding"}}
    return str(vl_convert.vegalite_to_svg({"layer": list(layers), "config": _CONFIG, **size}))


def marks(kind: str, rows: Sequence[Spec], channels: Spec, **look: Any) -> list[Spec]:
    """Layers of marks with what is said of them and where they lead; others are not announced to screen readers.

    Vega would make an address of the lack of one, so that marks with and without a link cannot share a layer.
    """
    alike: dict[tuple[bool, bool], list[Spec]] = {}
    for row in rows:
        alike.setdefault(("words" in row, "link" in row), []).append(row)
    layers = []
    for (said, linked), found in alike.items():
        extra = ({"description": field("words")} if said else {}) | ({"href": field("link")} if linked else {})
        mark = {"type": kind, "aria": said, **look}
        layers.append({"data": {"values": found}, "mark": mark, "encoding": channels | extra})
    return layers


def number(name: str, **values: Any) -> Spec:
    """A channel of numbers."""
    return {"field": name, "type": "quantitative", **values}


def field(name: str, **values: Any) -> Spec:
    """A channel of names or texts."""
    return {"field": name, "type": "nominal", **values}


def given(name: str, kind: str = "nominal") -> Spec:
    """A channel whose values are meant as they are: colours of the page, symbols, opacities."""
    return {"field": name, "type": kind, "scale": None, "legend": None}


def fixed(value: float | str) -> Spec:
    """A channel with one value for all: pixels, or "width" or "height"."""
    return {"value": value}


def said(note: Note) -> Spec:
    """The fields of a row that hold what is said of it and where it leads."""
    found = {"words": LINE_BREAK.join(map(printable, note.lines))} if note.lines else {}
    return found if note.link is None else found | {"link": note.link}


def interpolation(step: bool) -> str:
    """How points of a line are joined."""
    return "step-after" if step else "linear"


def span(axis: Axis, values: Sequence[float]) -> Span:
    """The part of an axis that values need."""
    if axis.names:
        return Span(False, -0.5, len(axis.names) - 0.5, None)
    log, low, high = is_logarithmic(axis, values), min(values, default=0.0), max(values, default=1.0)
    if log:
        room = (high / low) ** PADDING
        return Span(True, low / room, high * room, _log_ticks(low / room, high * room))
    room = PADDING * (high - low) or 0.5 * abs(high)
    if room < MIN_ROOM:
        room = 0.5
    return Span(False, low - room, high + room, None)


def axis_channel(name: str, axis: Axis, ends: Span, **look: Any) -> Spec:
    """The channel of numbers that a panel's axis shows."""
    kind = "log" if ends.log else "linear"
    scale = {"type": kind, "domain": [ends.low, ends.high], "nice": False, "zero": False}
    return number(name, scale=scale, axis=_ticks(axis, ends) | look, title=axis.title or None)


def _ticks(axis: Axis, ends: Span) -> Spec:
    if axis.names:
        names = json.dumps([printable(name) for name in axis.names])
        return {"labelExpr": f"{names}[datum.value]", "values": list(range(len(axis.names)))}
    if ends.ticks is not None:
        return {"labelExpr": _AXIS_NUMBER, "values": ends.ticks}
    whole = {"tickMinStep": 1} if axis.whole else {}
    return {"labelExpr": _AXIS_NUMBER, "tickCount": 5, "labelOverlap": True, **whole}


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or the powers alone if there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    several = [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    if len(several) <= MAX_LOG_LABELS:
        return several
    return [10.0**power for power in powers if low <= 10.0**power <= high]
