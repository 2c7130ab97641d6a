"""The figures of the report as SVG that takes its colours and fonts from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec

from gensweep.results import better

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.results import Score

P = ParamSpec("P")

#: How many series colours the page defines: --c0 and so on.
COLOURS = 6
#: The width of a figure in inches.
WIDTH = 5.3
#: Bars of a panel of parameter importance, at most.
MAX_BARS = 8

# Matplotlib wants real colours; each of these stands for one variable of the page and is swapped in the SVG text.
INK = "#000001"
FAINT = "#000002"
GRID = "#000003"
SERIES = tuple(f"#0000{10 + index:02d}" for index in range(COLOURS))
VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--rule)"} | {
    colour: f"var(--c{index})" for index, colour in enumerate(SERIES)
}

#: Text stays text (and so takes the page's font, can be searched and selected); names of users are never TeX.
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gensweep",
    "text.parse_math": False,
    "font.size": 10,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
}


class Curve(NamedTuple):
    """Numbers that a trial logged, by training images; `colour` is an index of the page's."""

    label: str
    colour: int
    points: Sequence[tuple[int, float]]
    faint: bool = False


def _as_svg(draw: Callable[Concatenate[Figure, P], None]) -> Callable[P, str]:
    """Give a new figure to a function that draws on it; returns the `<svg>` element."""

    @wraps(draw)
    def svg(*args: P.args, **kwargs: P.kwargs) -> str:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, 1.0), layout="constrained")
            draw(figure, *args, **kwargs)
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return _for_page(buffer.getvalue())

    return svg


@_as_svg
def history_figure(figure: Figure, groups: Mapping[str, Sequence[RankedTrial]], title: str) -> None:
    """The scores of each group's trials in the order in which they ran, and the best so far as a line."""
    from matplotlib.ticker import MaxNLocator

    figure.set_figheight(2.7)
    axes = figure.subplots()
    for index, (name, trials) in enumerate(groups.items()):
        scores, steps, colour = [trial.score for trial in trials], range(1, len(trials) + 1), SERIES[index % COLOURS]
        best_so_far = [score.value for score in accumulate(scores, _better_one)]
        axes.step(steps, best_so_far, where="post", color=colour, linewidth=1.8, label=name)
        values = [score.value for score in scores]
        axes.plot(steps, values, "o", color=colour, markersize=3.5, alpha=0.45, markeredgewidth=0)
    _finish(axes, "trial", title, [trial.score.value for trials in groups.values() for trial in trials])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _legend(figure, axes)


@_as_svg
def cost_figure(figure: Figure, groups: Mapping[str, Sequence[RankedTrial]], title: str) -> None:
    """Score against images seen and against training seconds; open circles were stopped early, a ring is the winner."""
    figure.set_figheight(2.9)
    everything = [trial for trials in groups.values() for trial in trials]
    labels = {"images": "training images", "train_seconds": "training seconds"}
    for axes, (key, label) in zip(figure.subplots(1, 2, sharey=True), labels.items(), strict=True):
        costs = {each.rank: getattr(each.trial.cost, key) for each in everything if getattr(each.trial.cost, key)}
        for index, (name, trials) in enumerate(groups.items()):
            colour = SERIES[index % COLOURS]
            for pruned in (False, True):
                shown = [each for each in trials if each.rank in costs and (each.trial.status == "pruned") == pruned]
                axes.plot(
                    [costs[each.rank] for each in shown],
                    [each.score.value for each in shown],
                    "o",
                    color=colour,
                    markerfacecolor="none" if pruned else colour,
                    markersize=4.5,
                    alpha=0.85,
                    label=None if pruned else name,
                )
        for each in everything:
            if each.rank == 1 and each.rank in costs:
                axes.plot(costs[each.rank], each.score.value, "o", color=INK, markerfacecolor="none", markersize=10)
        _finish(axes, label, title if key == "images" else "", [each.score.value for each in everything])
        _log_if_wide(axes, "x", list(costs.values()))
    _legend(figure, figure.axes[0])


@_as_svg
def importance_figure(figure: Figure, groups: Mapping[str, Mapping[str, float]], colours: Mapping[str, int]) -> None:
    """Bars of parameter importance, one panel a sweep in the colour `colours[name]`; the keys are labels already."""
    shown = {name: dict(list(shares.items())[:MAX_BARS]) for name, shares in groups.items() if shares}
    figure.set_figheight(0.55 * len(shown) + 0.24 * sum(map(len, shown.values())) + 0.35)
    heights = [len(shares) + 0.4 for shares in shown.values()]
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, shares) in zip(panels, shown.items(), strict=True):
        labels = list(shares)[::-1]
        axes.barh(labels, [shares[label] for label in labels], height=0.55, color=SERIES[colours[name] % COLOURS])
        for row, label in enumerate(labels):
            axes.text(shares[label] + 0.012, row, f"{100 * shares[label]:.0f} %", va="center", color=FAINT, size=9)
        axes.set_xlim(0, 1.08)
        axes.set_title(name, loc="left", color=INK, size=10)
        axes.tick_params(length=0, colors=INK, labelsize=9.5, labelbottom=False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.spines["left"].set_color(GRID)


@_as_svg
def curves_figure(figure: Figure, groups: Mapping[str, Sequence[Curve]], title: str) -> None:
    """Scores over images seen, one panel a group, the first trial of each drawn strongly."""
    shown = {name: [curve for curve in curves if curve.points] for name, curves in groups.items()}
    shown = {name: curves for name, curves in shown.items() if curves}
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure.set_figheight(0.25 + 2.35 * rows)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    everything = [value for curves in shown.values() for curve in curves for _, value in curve.points]
    for index, (axes, (name, curves)) in enumerate(zip(panels, shown.items(), strict=False)):
        for curve in reversed(curves):
            images, values = zip(*curve.points, strict=True)
            width, alpha = (2.0, 1.0) if curve is groups[name][0] else (1.0, 0.35)
            colour = SERIES[curve.colour % COLOURS]
            axes.plot(images, values, "-o", markersize=2.5, color=colour, linewidth=width, alpha=alpha)
        _finish(axes, "training images", title if index % columns == 0 else "", everything)
        axes.set_title(name, loc="left", color=INK, size=10)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)


@_as_svg
def signals_figure(figure: Figure, panels: Mapping[str, Sequence[Curve]]) -> None:
    """Numbers over images seen, one panel below the other, each under its name; faint curves are dashed."""
    figure.set_figheight(0.35 + 1.7 * len(panels))
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, curves) in zip(column, panels.items(), strict=True):
        for curve in curves:
            images, values = zip(*curve.points, strict=True)
            style: Any = {"linestyle": (0, (3, 2)), "linewidth": 1.1} if curve.faint else {"linewidth": 1.6}
            axes.plot(images, values, color=SERIES[curve.colour % COLOURS], label=curve.label, **style)
        _finish(axes, "training images", "", [])
        axes.set_title(name, loc="left", color=INK, size=10)
        axes.label_outer()
    _legend(figure, figure.axes[0])


def _better_one(best: Score, score: Score) -> Score:
    return score if better(score, best) else best


def _finish(axes: Axes, x: str, y: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(x, color=FAINT, size=9.5)
    axes.set_ylabel(y, color=FAINT, size=9.5)
    axes.tick_params(colors=FAINT, labelsize=9, length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    _log_if_wide(axes, "y", values)
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_formatter(_axis_number)
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _log_if_wide(axes: Axes, which: str, values: Sequence[float]) -> None:
    if not values or min(values) <= 0 or max(values) < 12 * min(values):
        return
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axis = axes.yaxis if which == "y" else axes.xaxis
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    narrow = max(values) < 100 * min(values)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axis.set_major_formatter(_axis_number)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _axis_number(value: float, _: float) -> str:
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{suffix}"
    return f"{value:g}"


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        place: Any = {"loc": "outside upper left", "ncols": 3, "frameon": False}
        figure.legend(handles, labels, **place, labelcolor=INK, fontsize=9.5, handlelength=1.2)


def _for_page(svg: str) -> str:
    """The `<svg>` element alone: page colours and font, no metadata, no id that the page could clash with."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\sxmlns(?::\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r'\sid="([\w.-]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r"font: (?:\w+ )*?([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 class="figure" role="img"', svg, count=1)
