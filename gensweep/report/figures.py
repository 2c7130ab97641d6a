"""The figures of the report, drawn by Vega-Lite (through Altair) as SVG that has the page's colours and font."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gensweep.report.page_svg import LINE_BREAK, page_svg, printable
from gensweep.report.plots import Axis, Bars, Note, Panel, Reading, is_logarithmic

if TYPE_CHECKING:
    import altair as alt

#: How many series colours the page defines: --c0 and so on.
COLOURS = 6
#: Vega's symbols of the series, for eyes that do not tell the colours apart.
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
#: The same for legends, as paths of an SVG of which the corners are at -6 and 6.
SYMBOL_PATHS = (
    "M5,0A5,5 0 1,1 -5,0A5,5 0 1,1 5,0Z",
    "M-5,-5h10v10h-10Z",
    "M0,-5.5L5.5,4.5h-11Z",
    "M0,-6L6,0L0,6L-6,0Z",
    "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z",
    "M0,5.5L5.5,-4.5h-11Z",
)
#: Pixels of width and height, for a column of the page and for a telephone.
SIZES = {"broad": (500, 270), "slim": (345, 250)}
#: The same for a figure that has the first screen to itself.
LARGE_SIZES = {"broad": (680, 390), "slim": (345, 300)}
#: Pixels of height of a bar with the space around it, and of all that is not a bar.
BAR_PIXELS, BARS_MARGIN_PIXELS = 26, 12
#: Pixels of a bar's label at most; the rest is cut off, but not under the pointer.
LABEL_PIXELS = {"broad": 190, "slim": 130}
#: Pixels of an average character of a label in a wide font of a page, and in the font that Vega measures with.
CHARACTER_PIXELS, VEGA_CHARACTER_PIXELS = 7.4, 6.0
#: The part of an axis, at each end, that is left free beyond the outermost value.
PADDING = 0.04
#: More labels of a logarithmic axis than this, and only powers of ten are labelled.
MAX_LOG_LABELS = 7

INK, FAINT, GRID, PAGE = "var(--ink)", "var(--faint)", "var(--rule)", "var(--page)"

#: Numbers of an axis: 0.5, 20, 60k, 2M, 20T.
_AXIS_NUMBER = "abs(datum.value) >= 1000 ? format(datum.value, '~s') : format(datum.value, '~g')"

Row = dict[str, Any]


class _Span(NamedTuple):
    """The ends of an axis, and the numbers at its ticks if Vega should not choose them."""

    log: bool
    low: float
    high: float
    ticks: list[float] | None


def draw_panel(panel: Panel, name: str, title: str, description: str, *, large: bool = False) -> str:
    """The SVG elements of a panel, one for each width of the page; `name` is an id that no other figure has."""
    sizes = LARGE_SIZES if large else SIZES
    return _drawn(lambda look: _panel_chart(panel, *sizes[look]), name, title, description)


def draw_bars(bars: Bars, name: str, title: str, description: str) -> str:
    """The SVG elements of bars, one for each width of the page."""
    return _drawn(lambda look: _bar_chart(bars, SIZES[look][0], LABEL_PIXELS[look]), name, title, description)


def series_colour(index: int) -> str:
    """The variable of the page that holds the colour of a series; they repeat."""
    return f"var(--c{index % COLOURS})"


def _drawn(draw: Callable[[str], alt.LayerChart], name: str, title: str, description: str) -> str:
    drawn = []
    for look in SIZES:
        file = io.StringIO()
        draw(look).save(file, format="svg")
        drawn.append(page_svg(file.getvalue(), f"{name}-{look}", look, title, description))
    return "\n".join(drawn)


def _panel_chart(panel: Panel, width: int, height: int) -> alt.LayerChart:
    import altair as alt

    x, y = _span(panel.x, list(panel.widths())), _span(panel.y, list(panel.heights()))
    across = alt.X("x:Q", scale=_scale(x), axis=_axis(panel.x, x, grid=False), title=panel.x.title or None)
    above: Row = {"titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -12, "titleBaseline": "bottom"}
    along = alt.Y("y:Q", scale=_scale(y), axis=_axis(panel.y, y, domain=False, **above), title=panel.y.title or None)
    layers = [*_intervals(panel, x), *_lines(panel, across, along), *_names(panel), *_dots(panel, across, along)]
    return _styled(layers, width, height)


def _lines(panel: Panel, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """One layer for all lines of a kind, faint ones first."""
    layers: list[alt.Chart] = []
    for strong, dashed, step in sorted({(not line.faint, line.dashed, line.step) for line in panel.lines}):
        rows = [
            {"x": at, "y": value, "line": number, "colour": series_colour(line.colour), **_said(line.note)}
            for number, line in enumerate(panel.lines)
            if (not line.faint, line.dashed, line.step) == (strong, dashed, step)
            for at, value in line.points
        ]
        mark = _marks().mark_line(
            strokeWidth=2.8 if strong else 1.2,
            strokeOpacity=1.0 if strong else 0.35,
            strokeDash=[4, 3] if dashed else [1, 0],
            interpolate=_interpolation(step),
            clip=True,
        )
        layers += _encoded(mark, rows, x=x, y=y, detail="line:N", stroke=_as_given("stroke", "colour"))
    return layers


def _intervals(panel: Panel, x: _Span) -> list[alt.Chart]:
    """Bands of lines, of levels and of crossings, and the invisible places at which all lines are read."""
    import altair as alt

    layers: list[alt.Chart] = []
    for band in panel.bands:
        rows: list[Row] = [{"x": at, "y": low, "y2": high} for at, low, high in band.points]
        colour, steps = series_colour(band.colour), _interpolation(band.step)
        area = _marks().mark_area(color=colour, opacity=0.2, interpolate=steps, clip=True)
        layers += _encoded(area, rows, x="x:Q", y="y:Q", y2="y2:Q")
    rows = [{"y": each.interval[0], "y2": each.interval[1]} for each in panel.levels if each.interval is not None]
    layers += _encoded(_marks().mark_rect(color=FAINT, opacity=0.15, clip=True), rows, y="y:Q", y2="y2:Q")
    whole = {"y": alt.value(0), "y2": alt.value("height")}
    rows = [
        {"x": max(low, x.low), "x2": min(high, x.high)} for each in panel.crossings for low, high in [each.interval]
    ]
    shade = _marks().mark_rect(color=FAINT, opacity=0.18, clip=True)
    layers += _encoded(shade, rows, x="x:Q", x2="x2:Q", **whole)
    rows = _strips(panel.readings, x)
    layers += _encoded(_marks().mark_rect(opacity=0), rows, x="x:Q", x2="x2:Q", **whole)
    return layers


def _strips(readings: Sequence[Reading], x: _Span) -> list[Row]:
    """The parts of the horizontal axis that are nearest to each reading."""
    if not readings:
        return []
    ordered = sorted(readings, key=lambda each: each.x)
    middles = [
        math.sqrt(first.x * second.x) if x.log else (first.x + second.x) / 2 for first, second in pairwise(ordered)
    ]
    edges = [x.low, *middles, x.high]
    parts = zip(ordered, pairwise(edges), strict=True)
    return [{"x": low, "x2": high, **_said(each.note)} for each, (low, high) in parts]


def _dots(panel: Panel, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    rows = [
        {
            "x": dot.x,
            "y": dot.y,
            "colour": series_colour(dot.colour),
            "fill": PAGE if dot.hollow else series_colour(dot.colour),
            "symbol": SYMBOLS[dot.colour % len(SYMBOLS)],
            "opacity": 0.55 if dot.faint else 1.0,
            **_said(dot.note),
        }
        for dot in panel.dots
    ]
    look = {channel: _as_given(channel, field) for channel, field in (("stroke", "colour"), ("fill", "fill"))}
    look |= {channel: _as_given(channel, field) for channel, field in (("shape", "symbol"), ("opacity", "opacity"))}
    layers = _encoded(_marks().mark_point(size=45, strokeWidth=1.6), rows, x=x, y=y, **look)
    rings: list[Row] = [{"x": dot.x, "y": dot.y} for dot in panel.dots if dot.ringed]
    ring = _marks().mark_point(size=190, stroke=INK, strokeWidth=1.6, filled=False)
    return layers + _encoded(ring, rings, x="x:Q", y="y:Q")


def _names(panel: Panel) -> list[alt.Chart]:
    """Levels and crossings, which have their names beside them."""
    import altair as alt

    rows: list[Row] = [{"y": each.y, "name": printable(each.name), **_said(each.note)} for each in panel.levels]
    level = _marks().mark_rule(color=INK, strokeWidth=1.2, strokeDash=[1, 3])
    layers = _encoded(level, rows, y="y:Q")
    word = _marks().mark_text(align="right", baseline="bottom", dy=-3, fill=FAINT)
    layers += _encoded(word, rows, y="y:Q", x=alt.value("width"), text="name:N")
    rows = [
        {"x": each.x, "below": printable(each.below), "above": printable(each.above), **_said(each.note)}
        for each in panel.crossings
    ]
    for faint, dash in ((False, [5, 3]), (True, [1, 3])):
        crossing = _marks().mark_rule(color=INK, strokeWidth=1.4, strokeDash=dash, clip=True)
        kind = [row for row, each in zip(rows, panel.crossings, strict=True) if each.faint == faint]
        layers += _encoded(crossing, kind, x="x:Q", y=alt.value(0), y2=alt.value("height"))
    left = _marks().mark_text(align="right", baseline="top", dx=-5, dy=3, fill=INK)
    right = _marks().mark_text(align="left", baseline="top", dx=5, dy=3, fill=INK)
    for side, word in (("below", left), ("above", right)):
        layers += _encoded(word, rows, x="x:Q", y=alt.value(0), text=f"{side}:N")
    return layers


def _bar_chart(bars: Bars, width: int, label_pixels: int) -> alt.LayerChart:
    import altair as alt

    rows: list[Row] = []
    for bar in bars.bars:
        ends = () if bar.interval is None else (f"95 %: {100 * bar.interval[0]:.0f} to {100 * bar.interval[1]:.0f} %",)
        low, high = bar.interval or (bar.share, bar.share)
        words = f"{100 * bar.share:.0f} %"
        note = Note((bar.name, words, *ends))
        numbers = {"x": bar.share, "low": low, "high": high, "share": words}
        rows.append({"name": printable(bar.name), **numbers, **_said(note)})
    longest = CHARACTER_PIXELS * max(len(bar.name) for bar in bars.bars)
    room = min(longest, CHARACTER_PIXELS / VEGA_CHARACTER_PIXELS * label_pixels)
    names = alt.Axis(labelLimit=label_pixels, minExtent=room, labelColor=INK, domain=False)
    y = alt.Y("name:N", sort=None, axis=names, title=None)
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, 1.12], nice=False), axis=None)
    bar_mark = _marks().mark_bar(color=series_colour(bars.colour), height={"band": 0.62})
    layers = _encoded(bar_mark, rows, x=x, y=y)
    if any(bar.interval is not None for bar in bars.bars):
        whisker = _marks().mark_rule(color=INK, strokeWidth=1.4)
        layers += _encoded(whisker, rows, x="low:Q", x2="high:Q", y=y)
    text = _marks().mark_text(align="left", dx=5, fill=FAINT)
    layers += _encoded(text, rows, x="high:Q", y=y, text="share:N")
    return _styled(layers, width, BAR_PIXELS * len(rows) + BARS_MARGIN_PIXELS)


def _marks() -> alt.Chart:
    import altair as alt

    return alt.Chart()


def _interpolation(step: bool) -> Literal["step-after", "linear"]:
    return "step-after" if step else "linear"


def _encoded(chart: alt.Chart, rows: Sequence[Row], **channels: Any) -> list[alt.Chart]:
    """Layers of marks with what is said of them and where they lead; others are not announced to screen readers.

    Vega would make an address of the lack of one, so that marks with and without a link cannot share a layer.
    """
    kinds: dict[tuple[bool, bool], list[Row]] = {}
    for row in rows:
        kinds.setdefault(("words" in row, "link" in row), []).append(row)
    layers = []
    for (said, linked), alike in kinds.items():
        layer = chart.copy()
        layer.data, layer.mark.aria = {"values": alike}, said
        extra = ({"description": "words:N"} if said else {}) | ({"href": "link:N"} if linked else {})
        layers.append(layer.encode(**channels, **extra))
    return layers


def _as_given(channel: str, field: str) -> Any:
    """A channel whose values are meant as they are."""
    import altair as alt

    kinds: dict[str, Any] = {"stroke": alt.Stroke, "fill": alt.Fill, "shape": alt.Shape, "opacity": alt.Opacity}
    kind = "Q" if channel == "opacity" else "N"
    return kinds[channel](f"{field}:{kind}", scale=None, legend=None)


def _said(note: Note) -> Row:
    found = {"words": LINE_BREAK.join(map(printable, note.lines))} if note.lines else {}
    return found if note.link is None else found | {"link": note.link}


def _span(axis: Axis, values: Sequence[float]) -> _Span:
    log, low, high = is_logarithmic(axis, values), min(values, default=0.0), max(values, default=1.0)
    if log:
        room = (high / low) ** PADDING
        return _Span(True, low / room, high * room, _log_ticks(low / room, high * room))
    room = PADDING * (high - low) or 0.5 * abs(high) or 0.5
    return _Span(False, low - room, high + room, None)


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or the powers alone if there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    several = [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    if len(several) <= MAX_LOG_LABELS:
        return several
    return [10.0**power for power in powers if low <= 10.0**power <= high]


def _scale(span: _Span) -> alt.Scale:
    import altair as alt

    return alt.Scale(type="log" if span.log else "linear", domain=[span.low, span.high], nice=False, zero=False)


def _axis(axis: Axis, span: _Span, **values: Any) -> alt.Axis:
    import altair as alt

    if span.ticks is not None:
        return alt.Axis(labelExpr=_AXIS_NUMBER, values=span.ticks, **values)
    if axis.whole:
        values["tickMinStep"] = 1
    return alt.Axis(labelExpr=_AXIS_NUMBER, tickCount=5, labelOverlap=True, **values)


def _styled(layers: Sequence[alt.Chart], width: int, height: int) -> alt.LayerChart:
    import altair as alt

    chart = alt.LayerChart(layer=list(layers), width=width, height=height)
    words: Row = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": FAINT, "titleColor": FAINT}
    lines: Row = {"gridColor": GRID, "domainColor": GRID, "ticks": False, "labelPadding": 6}
    chart.autosize, chart.padding = alt.AutoSizeParams(type="fit", contains="padding"), 2
    chart.config = alt.Config(
        background="transparent",
        axis=alt.AxisConfig(**words, **lines, titleFontWeight="normal"),
        view=alt.ViewConfig(stroke=None),
        text=alt.MarkConfig(fontSize=12),
    )
    return chart
