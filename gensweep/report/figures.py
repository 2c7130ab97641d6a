"""Figures of the report as SVG.  `colour` is the number of a series; `note` holds the lines of a tooltip."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

INK, FAINT, GRID, PAGE = "var(--ink)", "var(--faint)", "var(--rule)", "var(--page)"
#: Symbols of the series, one for each colour of the page, --c0 and so on: paths with corners at -6 and 6.
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
#: Size of a panel in pixels, and its margins for titles and labels: top, bottom and right.
WIDTH, HEIGHT = 560, 300
TOP, BOTTOM, RIGHT = 26, 40, 10
#: Average width of a label's character in a wide font, in pixels.
CHARACTER_PIXELS = 7.4
#: Ratio of the largest to the smallest value from which an axis is logarithmic.
MIN_LOG_RATIO = 12
#: Free share of an axis at each end.
PADDING = 0.04
#: A logarithmic axis with more labels labels only powers of ten; a linear axis aims at `LABELS`.
MAX_LOG_LABELS, LABELS = 7, 5
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


@dataclass(frozen=True)
class Line:
    """Connected points, pale if faint.  `band` holds the intervals (x, low, high) around them."""

    colour: int
    points: Sequence[tuple[float, float]]
    note: tuple[str, ...] = ()
    faint: bool = False
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Dot:
    """A point: hollow if training stopped early, with a ring if recommended."""

    colour: int
    x: float
    y: float
    note: tuple[str, ...] = ()
    hollow: bool = False
    ringed: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line with a name, such as the score of real images."""

    name: str
    y: float
    note: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crossing:
    """A vertical line with labels on both sides, and its interval; dotted if faint."""

    below: str
    above: str
    x: float
    interval: tuple[float, float]
    note: tuple[str, ...] = ()
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """A coordinate system with axis titles."""

    x: str
    y: str
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    levels: Sequence[Level] = ()
    crossings: Sequence[Crossing] = ()


@dataclass(frozen=True)
class Figure:
    """A headline, a caption, and panels."""

    name: str
    caption: str
    panels: Sequence[Panel] = ()

    @property
    def series(self) -> list[int]:
        """Colours that the figure distinguishes; empty if there is only one."""
        found = {dot.colour for panel in self.panels for dot in panel.dots}
        return sorted(found) if len(found) > 1 else []

    def svgs(self, name: str) -> list[str]:
        """The SVG element of each panel; `name` is an id that is unique on the page."""
        # Inside <defs> the title is not a tooltip of the whole figure.
        return [
            f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" style="--natural: {WIDTH}px" '
            f'role="graphics-document" aria-labelledby="{name}-{number}-title" '
            f'aria-describedby="{name}-{number}-description"><defs>'
            f'<title id="{name}-{number}-title">{escape(self.name)}</title>'
            f'<desc id="{name}-{number}-description">{escape(self.caption)}</desc></defs>{"".join(_panel(panel))}</svg>'
            for number, panel in enumerate(self.panels, 1)
        ]


class Scale(NamedTuple):
    """An axis: the values at its ends, at pixels `start` and `end`, and its labelled ticks."""

    log: bool
    low: float
    high: float
    start: float
    end: float
    ticks: list[tuple[float, str]]

    def place(self, value: float) -> float:
        """Pixel of a value, clipped to the axis; 0 has no position on a logarithmic axis."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def _scale_of(values: Sequence[float], start: float, end: float) -> Scale:
    """Scale of an axis that shows these values between two pixels."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if log := low > 0 and high >= MIN_LOG_RATIO * low:
        room = (high / low) ** PADDING
        low, high = low / room, high * room
    else:
        room = PADDING * (high - low) or 0.5 * abs(high) or 0.5
        low, high = low - room, high + room
    ticks = _log_ticks(low, high) if log else _linear_ticks(low, high)
    return Scale(log, low, high, start, end, [(tick, _label(tick)) for tick in ticks])


def _label(value: float) -> str:
    """Format a number of an axis: 0.5, 20, 60k, 2M, 20T."""
    power = 0 if abs(value) < 1000 else min(int(math.log10(abs(value)) / 3 + 1e-9), len(_PREFIXES) - 1)
    return f"{value / 1000**power:g}{_PREFIXES[power]}"


def _linear_ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    wanted = (high - low) / LABELS
    power = 10.0 ** math.floor(math.log10(wanted))
    step = min((digit * power for digit in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / wanted)))
    return [round(number * step, 300) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; only powers, thinned out, if there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    several = [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    if len(several) <= MAX_LOG_LABELS:
        return several
    alone = [10.0**power for power in powers if low <= 10.0**power <= high]
    return alone[:: math.ceil(len(alone) / MAX_LOG_LABELS)]


def _mark(tag: str, note: Sequence[str] = (), /, **attributes: Any) -> str:
    """An element; the note's lines become its tooltip, which works without scripts."""
    words = (
        f'{key.replace("_", "-")}="{value:.6g}"' if isinstance(value, float) else f'{key.replace("_", "-")}="{value}"'
        for key, value in attributes.items()
    )
    start = f"<{tag} {' '.join(words)}"
    if not note:
        return f"{start}/>"
    return f'{start} role="graphics-symbol"><title>{escape(chr(10).join(note))}</title></{tag}>'


def _text(words: str, x: float, y: float, anchor: str = "start", fill: str = FAINT) -> str:
    return f'<text x="{x:.6g}" y="{y:.6g}" font-size="12" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'


def _colour(series: int) -> str:
    return f"var(--c{series % len(SYMBOL_PATHS)})"


def _panel(panel: Panel) -> Iterator[str]:
    points = [*((dot.x, dot.y) for dot in panel.dots), *(point for line in panel.lines for point in line.points)]
    # Bands may be cut off.
    y = _scale_of([*(y for _, y in points), *(level.y for level in panel.levels)], HEIGHT - BOTTOM, TOP)
    left = CHARACTER_PIXELS * max((len(words) for _, words in y.ticks), default=0) + 6
    x = _scale_of([*(x for x, _ in points), *(crossing.x for crossing in panel.crossings)], left, WIDTH - RIGHT)
    yield from _axes(panel, x, y)
    for line in sorted(panel.lines, key=lambda each: not each.faint):
        yield from _line(line, x, y)
    yield from _names(panel, x, y)
    for dot in panel.dots:
        yield from _dot(dot, x.place(dot.x), y.place(dot.y))


def _axes(panel: Panel, x: Scale, y: Scale) -> Iterator[str]:
    yield _text(panel.y, 0, y.end - 12)
    for value, words in y.ticks:
        at = y.place(value)
        yield _mark("line", x1=x.start, x2=x.end, y1=at, y2=at, stroke=GRID)
        yield _text(words, x.start - 6, at + 4, "end")
    yield _mark("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, stroke=GRID)
    free = -math.inf
    for value, words in x.ticks:
        at, half = x.place(value), CHARACTER_PIXELS * len(words) / 2
        if at - half > free:
            yield _text(words, at, y.start + 16, "middle")
            free = at + half
    yield _text(panel.x, (x.start + x.end) / 2, y.start + 34, "middle")


def _line(line: Line, x: Scale, y: Scale) -> Iterator[str]:
    """A line over its band."""
    lows, highs = ([(at, ends[side]) for at, *ends in line.band] for side in (0, 1))
    if line.band:
        path = _path([*lows, *reversed(highs)], x, y)
        yield _mark("path", d=f"{path}Z", fill=_colour(line.colour), opacity=0.2)
    look = {"stroke_width": 1.2, "stroke_opacity": 0.35} if line.faint else {"stroke_width": 2.8}
    yield _mark("path", line.note, d=_path(line.points, x, y), fill="none", stroke=_colour(line.colour), **look)


def _path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    return "M" + "L".join(f"{x.place(at):.6g},{y.place(value):.6g}" for at, value in points)


def _dot(dot: Dot, x: float, y: float) -> Iterator[str]:
    colour = _colour(dot.colour)
    yield _mark(
        "path",
        dot.note,
        transform=f"translate({x:.6g},{y:.6g}) scale(.7)",
        d=SYMBOL_PATHS[dot.colour % len(SYMBOL_PATHS)],
        fill=PAGE if dot.hollow else colour,
        stroke=colour,
        stroke_width=2.3,
        opacity=0.55 if dot.faint else 1,
    )
    if dot.ringed:
        yield _mark("circle", cx=x, cy=y, r=7, fill="none", stroke=INK, stroke_width=1.6)


def _names(panel: Panel, x: Scale, y: Scale) -> Iterator[str]:
    """Levels and crossings with their labels."""
    for crossing in panel.crossings:
        at, (start, end) = x.place(crossing.x), map(x.place, crossing.interval)
        size = {"width": end - start, "height": y.start - y.end}
        yield _mark("rect", x=start, y=y.end, **size, fill=FAINT, opacity=0.18)
        look = {"stroke": INK, "stroke_width": 1.4, "stroke_dasharray": "1,3" if crossing.faint else "5,3"}
        yield _mark("line", crossing.note, x1=at, x2=at, y1=y.start, y2=y.end, **look)
        yield _text(crossing.below, at - 5, y.end + 13, "end", INK)
        yield _text(crossing.above, at + 5, y.end + 13, "start", INK)
    for level in panel.levels:
        at, look = y.place(level.y), {"stroke": INK, "stroke_width": 1.2, "stroke_dasharray": "1,3"}
        yield _mark("line", level.note, x1=x.start, x2=x.end, y1=at, y2=at, **look)
        yield _text(level.name, x.end, at - 4, "end")
