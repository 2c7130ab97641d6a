"""The figures of the report: plain data in, SVG out that takes its colours and fonts from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

__all__ = [
    "COLOURS",
    "Curve",
    "Point",
    "cost_figure",
    "curves_figure",
    "history_figure",
    "importance_figure",
    "signals_figure",
]

COLOURS = 6
"""How many series colours the page defines: --c0 and so on."""

# Matplotlib wants real colours; each of these stands for one variable of the page and is swapped in the SVG text.
_INK, _FAINT, _GRID = "#000001", "#000002", "#000003"
_SERIES = tuple(f"#0000{10 + index:02d}" for index in range(COLOURS))
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--faint)", _GRID: "var(--rule)"} | {
    colour: f"var(--c{index})" for index, colour in enumerate(_SERIES)
}
_WIDTH = 5.3


@dataclass(frozen=True)
class Point:
    """One scored trial: what it cost and what it reached.  `series` is an index of a colour."""

    label: str
    series: int
    value: float
    images: int | None = None
    train_seconds: float | None = None
    pruned: bool = False
    best: bool = False


@dataclass(frozen=True)
class Curve:
    """The scores of one trial over the images it has seen, or another number that it logged."""

    label: str
    series: int
    points: Sequence[tuple[int, float]]
    best: bool = False
    faint: bool = False


def history_figure(groups: Mapping[str, Sequence[Point]], title: str, mode: str) -> str:
    """Each sweep's trials in the order in which they ran, and the best so far as a line."""
    from matplotlib.ticker import MaxNLocator

    with _figure(2.7) as (figure, svg):
        axes = figure.subplots()
        better = min if mode == "min" else max
        for name, points in groups.items():
            if not points:
                continue
            colour = _SERIES[points[0].series % COLOURS]
            best: list[float] = []
            for point in points:
                best.append(better(best[-1], point.value) if best else point.value)
            steps = range(1, len(points) + 1)
            axes.step(steps, best, where="post", color=colour, linewidth=1.8, label=name)
            axes.plot(
                steps, [p.value for p in points], "o", color=colour, markersize=3.5, alpha=0.45, markeredgewidth=0
            )
        _finish(axes, "trial", title, [point.value for points in groups.values() for point in points])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _legend(figure, axes)
    return svg()


def cost_figure(points: Sequence[Point], names: Mapping[int, str], title: str) -> str:
    """Score against images seen and against training seconds; `names` are the series."""
    with _figure(2.9) as (figure, svg):
        for axes, key, label in zip(
            figure.subplots(1, 2, sharey=True),
            ("images", "train_seconds"),
            ("training images", "training seconds"),
            strict=True,
        ):
            for series, name in names.items():
                for pruned in (False, True):
                    shown = [p for p in points if p.series == series and p.pruned == pruned and getattr(p, key)]
                    axes.plot(
                        [getattr(point, key) for point in shown],
                        [point.value for point in shown],
                        "o",
                        color=_SERIES[series % COLOURS],
                        markerfacecolor="none" if pruned else _SERIES[series % COLOURS],
                        markersize=4.5,
                        alpha=0.85,
                        label=None if pruned else name,
                    )
            for point in points:
                if point.best and getattr(point, key):
                    axes.plot(getattr(point, key), point.value, "o", color=_INK, markerfacecolor="none", markersize=10)
            values = [getattr(point, key) for point in points if getattr(point, key)]
            _finish(axes, label, title if key == "images" else "", [point.value for point in points])
            _log_if_wide(axes, "x", values)
        _legend(figure, figure.axes[0])
    return svg()


def importance_figure(groups: Mapping[str, Mapping[str, float]], series: Mapping[str, int]) -> str:
    """Bars of parameter importance, one panel a sweep of the colour `series[name]`; the keys are labels already."""
    shown = {name: dict(list(shares.items())[:8]) for name, shares in groups.items() if shares}
    rows = sum(len(shares) for shares in shown.values())
    with _figure(0.55 * len(shown) + 0.24 * rows + 0.35) as (figure, svg):
        panels = figure.subplots(
            len(shown), 1, sharex=True, squeeze=False, height_ratios=[len(s) + 0.4 for s in shown.values()]
        )[:, 0]
        for axes, (name, shares) in zip(panels, shown.items(), strict=True):
            labels = list(shares)[::-1]
            axes.barh(labels, [shares[label] for label in labels], height=0.55, color=_SERIES[series[name] % COLOURS])
            for row, label in enumerate(labels):
                axes.text(shares[label] + 0.012, row, f"{100 * shares[label]:.0f} %", va="center", color=_FAINT, size=9)
            axes.set_xlim(0, 1.08)
            axes.set_title(name, loc="left", color=_INK, size=10)
            axes.tick_params(length=0, colors=_INK, labelsize=9.5, labelbottom=False)
            for side in ("top", "right", "bottom"):
                axes.spines[side].set_visible(False)
            axes.spines["left"].set_color(_GRID)
    return svg()


def curves_figure(groups: Mapping[str, Sequence[Curve]], title: str) -> str:
    """Scores over images seen, one panel a sweep, the best trial drawn strongly."""
    shown = {name: [curve for curve in curves if curve.points] for name, curves in groups.items()}
    shown = {name: curves for name, curves in shown.items() if curves}
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    with _figure(0.25 + 2.35 * rows) as (figure, svg):
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
        everything = [value for curves in shown.values() for curve in curves for _, value in curve.points]
        for index, axes in enumerate(panels):
            if index >= len(shown):
                axes.set_visible(False)
                continue
            name, curves = list(shown.items())[index]
            for curve in sorted(curves, key=lambda item: item.best):
                images, values = zip(*curve.points, strict=True)
                colour = _SERIES[curve.series % COLOURS]
                style: Any = {"linewidth": 2.0, "alpha": 1.0} if curve.best else {"linewidth": 1.0, "alpha": 0.35}
                axes.plot(images, values, "-o", markersize=2.5, color=colour, **style)
            _finish(axes, "training images", title if index % columns == 0 else "", everything)
            axes.set_title(name, loc="left", color=_INK, size=10)
    return svg()


def signals_figure(panels: Mapping[str, Sequence[Curve]]) -> str:
    """Numbers over images seen, one panel below the other, each under its name; faint curves are dashed."""
    with _figure(0.35 + 1.7 * len(panels)) as (figure, svg):
        for axes, (name, curves) in zip(
            figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels.items(), strict=True
        ):
            for curve in curves:
                images, values = zip(*curve.points, strict=True)
                style: Any = {"linestyle": (0, (3, 2)), "linewidth": 1.1} if curve.faint else {"linewidth": 1.6}
                axes.plot(images, values, color=_SERIES[curve.series % COLOURS], label=curve.label, **style)
            _finish(axes, "training images", "", [])
            axes.set_title(name, loc="left", color=_INK, size=10)
            axes.label_outer()
        _legend(figure, figure.axes[0])
    return svg()


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, _Svg]]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Text stays text (and so takes the page's font, can be searched and selected); names of users are never TeX.
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "gensweep",
        "text.parse_math": False,
        "font.size": 10,
        "axes.formatter.use_mathtext": False,
        "axes.unicode_minus": True,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        svg = _Svg()
        yield figure, svg
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        svg.text = _for_page(buffer.getvalue())


class _Svg:
    """The text of a figure, there once its context has been left."""

    text = ""

    def __call__(self) -> str:
        return self.text


def _finish(axes: Axes, x: str, y: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(x, color=_FAINT, size=9.5)
    axes.set_ylabel(y, color=_FAINT, size=9.5)
    axes.tick_params(colors=_FAINT, labelsize=9, length=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    _log_if_wide(axes, "y", values)
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_formatter(_counts())
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _log_if_wide(axes: Axes, which: str, values: Sequence[float]) -> None:
    positive = [value for value in values if value > 0]
    if len(positive) != len(values) or not positive or max(positive) < 12 * min(positive):
        return
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axis = axes.yaxis if which == "y" else axes.xaxis
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    narrow = max(positive) < 100 * min(positive)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axis.set_major_formatter(_counts())
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _counts() -> Formatter:
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _: int) -> str:
        for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= limit:
                return f"{value / limit:g}{suffix}"
        return f"{value:g}"

    return FuncFormatter(text)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=3,
            frameon=False,
            labelcolor=_INK,
            fontsize=9.5,
            handlelength=1.2,
        )


def _for_page(svg: str) -> str:
    """The `<svg>` element alone: page colours and font, no metadata, no id that the page could clash with."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\sxmlns(?::\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r'\sid="([\w.-]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r"font: (?:\w+ )*?([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 class="figure" role="img"', svg, count=1)
