"""The figure of a plan: what each family is expected to reach with a budget, and what its trainings did reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.errors import ConfigError
from gensweep.report.figures import COLOURS
from gensweep.report.templates import light_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gensweep.compute.amounts import Amount
    from gensweep.compute.spending import SpendingPlan

#: Colours as in the report.
COLOURS_OF_PAGE = light_colours()
INK_COLOUR, FAINT_COLOUR, GRID_COLOUR = (COLOURS_OF_PAGE[name] for name in ("ink", "faint", "rule"))
#: Width and height in inches, and dots an inch of a PNG.
SIZE = (7.2, 4.4)
DOTS = 160
FIGURE_FORMATS = (".svg", ".png")
AXIS_LABELS = {
    "flops": "training, FLOPs",
    "device_seconds": "training, device seconds",
    "images": "training images",
}

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FrontierSeries:
    """Of a family (budget, score) for each of its trainings, and (budget, score, low, high) of what is expected."""

    trainings: tuple[Points, ...]
    expected: tuple[tuple[float, float, float, float], ...]


def frontier_series(plan: SpendingPlan) -> dict[str, FrontierSeries]:
    """The data of the figure, by family."""
    return {
        name: FrontierSeries(
            tuple(
                tuple((point.spent, point.order) for point in each.envelope)
                for each in plan.planners[name].fitted.trainings
            ),
            tuple((p.budget, p.forecast.value, p.forecast.low, p.forecast.high) for p in points),
        )
        for name, points in plan.frontier.items()
    }


def check_figure(path: Path) -> None:
    """Raises ConfigError if no figure can be written there."""
    if path.suffix.lower() not in FIGURE_FORMATS:
        raise ConfigError(f"--figure: {str(path)!r} is none of {', '.join(FIGURE_FORMATS)}; end it with one of them")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--figure: there is no folder {path.absolute().parent}; make it first")


def write_frontier(plan: SpendingPlan, budget: Amount, title: str, path: Path) -> None:
    """Draw the figure into a file, SVG or PNG by its name."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "gensweep", "text.parse_math": False, "font.size": 10}
    with mpl.rc_context(style):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        _draw(axes, frontier_series(plan), trusted=plan.trusted)
        for at, words in ((plan.backtest.limit, "hidden in the backtest →"), (plan.budget, str(budget))):
            axes.axvline(at, color=FAINT_COLOUR, linewidth=0.9, linestyle=(0, (4, 3)))
            side: Any = {"ha": "left" if at < plan.budget else "right", "va": "bottom"}
            axes.text(at, 1.01, words, transform=axes.get_xaxis_transform(), color=FAINT_COLOUR, size=9, **side)
        axes.set_xlabel(AXIS_LABELS[budget.unit], color=FAINT_COLOUR)
        axes.set_ylabel(title, color=FAINT_COLOUR)
        axes.legend(frameon=False, labelcolor=INK_COLOUR, loc="lower left")
        metadata: Any = {"Date": None, "Creator": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=DOTS, facecolor="white", metadata=metadata)


def _draw(axes: Axes, series: Mapping[str, FrontierSeries], *, trusted: bool) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    for index, (name, each) in enumerate(series.items()):
        colour = COLOURS_OF_PAGE[f"c{index % COLOURS}"]
        for points in each.trainings:
            axes.plot(*zip(*points, strict=True), "-o", color=colour, alpha=0.35, linewidth=0.9, markersize=2.2)
        if each.expected and trusted:
            budgets, values, lows, highs = zip(*each.expected, strict=True)
            axes.fill_between(budgets, lows, highs, color=colour, alpha=0.15, linewidth=0)
            axes.plot(budgets, values, color=colour, linewidth=2, label=name)
        else:
            axes.plot([], [], color=colour, label=f"{name} (no law that could be trusted)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:.0e}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter() if _narrow(axes) else NullFormatter())
    axes.grid(axis="y", which="both", color=GRID_COLOUR, linewidth=0.7)
    axes.tick_params(which="both", colors=FAINT_COLOUR, length=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID_COLOUR)


def _narrow(axes: Axes) -> bool:
    """Whether powers of ten alone would label the scores too seldom."""
    low, high = axes.get_ylim()
    return bool(high < 30 * low)
