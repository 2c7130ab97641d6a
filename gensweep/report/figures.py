"""The figures of the report, drawn by Vega-Lite as SVG that has the page's colours and font."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from gensweep.report.page_svg import page_svg, printable
from gensweep.report.plots import Bars, Note, Panel, SharedNote
from gensweep.report.vega import (
    FAINT,
    INK,
    PAGE,
    Span,
    Spec,
    axis_channel,
    field,
    fixed,
    given,
    interpolation,
    marks,
    number,
    said,
    span,
    svg_of,
)

#: How many series colours the page defines: --c0 and so on.
COLOURS = 8
#: Vega's symbols of the series, for eyes that do not tell the colours apart.
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
#: The same for legends, as paths of an SVG of which the corners are at -6 and 6.
SYMBOL_PATHS = (
    "M5,0A5,5 0 1,1 -5,0A5,5 0 1,1 5,0Z",
    "M-5,-5h10v10h-10Z",
    "M0,-5.5L5.5,4.5h-11Z",
    "M0,-6L6,0L0,6L-6,0Z",
    "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z",
    "M0,5.5L5.5,-4.5h-11Z",
    "M5.5,0L-4.5,5.5v-11Z",
    "M-5.5,0L4.5,5.5v-11Z",
)
#: Pixels of width and height, for a column of the page and for a telephone.
SIZES = {"broad": (500, 270), "slim": (345, 250)}
#: The same for a figure that has the first screen to itself.
LARGE_SIZES = {"broad": (680, 350), "slim": (345, 300)}
#: Pixels of height of a bar with the space around it, and of all that is not a bar.
BAR_PIXELS, BARS_MARGIN_PIXELS = 26, 12
#: Pixels of a bar's label at most; the rest is cut off, but not under the pointer.
LABEL_PIXELS = {"broad": 190, "slim": 130}
#: Pixels of an average character of a label in a wide font of a page, and in the font that Vega measures with.
CHARACTER_PIXELS, VEGA_CHARACTER_PIXELS = 7.4, 6.0


def draw_panel(panel: Panel, name: str, title: str, description: str, *, large: bool = False) -> str:
    """The SVG elements of a panel, one for each width of the page; `name` is an id that no other figure has."""
    sizes = LARGE_SIZES if large else SIZES
    return _drawn(lambda look: svg_of(_panel_layers(panel), *sizes[look]), name, title, description)


def draw_bars(bars: Bars, name: str, title: str, description: str) -> str:
    """The SVG elements of bars, one for each width of the page."""
    height = BAR_PIXELS * len(bars.bars) + BARS_MARGIN_PIXELS
    return _drawn(
        lambda look: svg_of(_bar_layers(bars, LABEL_PIXELS[look]), SIZES[look][0], height), name, title, description
    )


def series_colour(index: int) -> str:
    """The variable of the page that holds the colour of a series; they repeat."""
    return f"var(--c{index % COLOURS})"


def _drawn(draw: Callable[[str], str], name: str, title: str, description: str) -> str:
    return "\n".join(page_svg(draw(look), f"{name}-{look}", look, title, description) for look in SIZES)


def _panel_layers(panel: Panel) -> list[Spec]:
    x, y = span(panel.x, list(panel.widths())), span(panel.y, list(panel.heights()))
    above: Spec = {"titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -12, "titleBaseline": "bottom"}
    axes = {"x": axis_channel("x", panel.x, x, grid=False), "y": axis_channel("y", panel.y, y, domain=False, **above)}
    return [*_intervals(panel, x, y), *_lines(panel, axes), *_names(panel), *_dots(panel, axes)]


def _lines(panel: Panel, axes: Spec) -> list[Spec]:
    """One layer for all lines of a kind, faint ones first."""
    layers: list[Spec] = []
    for strong, dashed, step in sorted({(not line.faint, line.dashed, line.step) for line in panel.lines}):
        rows = [
            {"x": at, "y": value, "line": index, "colour": series_colour(line.colour), **said(line.note)}
            for index, line in enumerate(panel.lines)
            if (not line.faint, line.dashed, line.step) == (strong, dashed, step)
            for at, value in line.points
        ]
        layers += marks(
            "line",
            rows,
            {**axes, "detail": field("line"), "stroke": given("colour")},
            strokeWidth=2.8 if strong else 1.2,
            strokeOpacity=1.0 if strong else 0.35,
            strokeDash=[4, 3] if dashed else [1, 0],
            interpolate=interpolation(step),
            clip=True,
        )
    return layers


def _intervals(panel: Panel, x: Span, y: Span) -> list[Spec]:
    """Bands of lines, of levels and of crossings, and the invisible places at which all lines are read."""
    layers: list[Spec] = []
    wide, high = {"x": number("x"), "x2": {"field": "x2"}}, {"y": number("y"), "y2": {"field": "y2"}}
    for band in panel.bands:
        rows: list[Spec] = [{"x": at, "y": y.within(low), "y2": y.within(up)} for at, low, up in band.points]
        look = {"color": series_colour(band.colour), "opacity": 0.2, "interpolate": interpolation(band.step)}
        layers += marks("area", rows, {"x": number("x"), **high}, clip=True, **look)
    intervals = [each.interval for each in panel.levels if each.interval is not None]
    rows = [{"y": y.within(low), "y2": y.within(up)} for low, up in intervals]
    layers += marks("rect", rows, high, color=FAINT, opacity=0.15, clip=True)
    whole = {**wide, "y": fixed(0), "y2": fixed("height")}
    rows = [{"x": x.within(low), "x2": x.within(up)} for each in panel.crossings for low, up in [each.interval]]
    layers += marks("rect", rows, whole, color=FAINT, opacity=0.18, clip=True)
    return layers + marks("rect", _strips(panel.readings, x), whole, opacity=0)


def _strips(readings: Sequence[SharedNote], x: Span) -> list[Spec]:
    """The parts of the horizontal axis that are nearest to each reading."""
    if not readings:
        return []
    ordered = sorted(readings, key=lambda each: each.x)
    middles = [
        math.sqrt(first.x * second.x) if x.log else (first.x + second.x) / 2 for first, second in pairwise(ordered)
    ]
    edges = [x.low, *middles, x.high]
    parts = zip(ordered, pairwise(edges), strict=True)
    return [{"x": low, "x2": high, **said(each.note)} for each, (low, high) in parts]


def _dots(panel: Panel, axes: Spec) -> list[Spec]:
    rows: list[Spec] = [
        {
            "x": dot.x,
            "y": dot.y,
            "colour": series_colour(dot.colour),
            "fill": PAGE if dot.hollow else series_colour(dot.colour),
            "symbol": SYMBOLS[dot.colour % len(SYMBOLS)],
            "opacity": 0.55 if dot.faint else 1.0,
            **said(dot.note),
        }
        for dot in panel.dots
    ]
    look = {"stroke": given("colour"), "fill": given("fill"), "shape": given("symbol")}
    layers = marks(
        "point", rows, {**axes, **look, "opacity": given("opacity", "quantitative")}, size=45, strokeWidth=1.6
    )
    rings: list[Spec] = [{"x": dot.x, "y": dot.y} for dot in panel.dots if dot.ringed]
    place = {"x": number("x"), "y": number("y")}
    return layers + marks("point", rings, place, size=190, stroke=INK, strokeWidth=1.6, filled=False)


def _names(panel: Panel) -> list[Spec]:
    """Levels and crossings, which have their names beside them."""
    rows: list[Spec] = [{"y": each.y, "name": printable(each.name), **said(each.note)} for each in panel.levels]
    layers = marks("rule", rows, {"y": number("y")}, color=INK, strokeWidth=1.2, strokeDash=[1, 3])
    place = {"y": number("y"), "x": fixed("width"), "text": field("name")}
    layers += marks("text", rows, place, align="right", baseline="bottom", dy=-3, fill=FAINT)
    rows = [
        {"x": each.x, "below": printable(each.below), "above": printable(each.above), **said(each.note)}
        for each in panel.crossings
    ]
    whole = {"x": number("x"), "y": fixed(0), "y2": fixed("height")}
    for faint, dash in ((False, [5, 3]), (True, [1, 3])):
        alike = [row for row, each in zip(rows, panel.crossings, strict=True) if each.faint == faint]
        layers += marks("rule", alike, whole, color=INK, strokeWidth=1.4, strokeDash=dash, clip=True)
    for side, align, gap in (("below", "right", -5), ("above", "left", 5)):
        place = {"x": number("x"), "y": fixed(0), "text": field(side)}
        layers += marks("text", rows, place, align=align, baseline="top", dx=gap, dy=3, fill=INK)
    return layers


def _bar_layers(bars: Bars, label_pixels: int) -> list[Spec]:
    rows: list[Spec] = []
    for bar in bars.bars:
        ends = () if bar.interval is None else (f"95 %: {100 * bar.interval[0]:.0f} to {100 * bar.interval[1]:.0f} %",)
        low, high = bar.interval or (bar.share, bar.share)
        words = f"{100 * bar.share:.0f} %"
        numbers = {"x": bar.share, "low": low, "high": high, "share": words}
        rows.append({"name": printable(bar.name), **numbers, **said(Note((bar.name, words, *ends)))})
    longest = CHARACTER_PIXELS * max(len(bar.name) for bar in bars.bars)
    room = min(longest, CHARACTER_PIXELS / VEGA_CHARACTER_PIXELS * label_pixels)
    names = {"labelLimit": label_pixels, "minExtent": room, "labelColor": INK, "domain": False}
    y = field("name", sort=None, axis=names, title=None)
    x = number("x", scale={"domain": [0, 1.12], "nice": False}, axis=None)
    layers = marks("bar", rows, {"x": x, "y": y}, color=series_colour(bars.colour), height={"band": 0.62})
    if any(bar.interval is not None for bar in bars.bars):
        ends_of = {"x": number("low"), "x2": {"field": "high"}, "y": y}
        layers += marks("rule", rows, ends_of, color=INK, strokeWidth=1.4)
    place = {"x": number("high"), "y": y, "text": field("share")}
    return layers + marks("text", rows, place, align="left", dx=5, fill=FAINT)
