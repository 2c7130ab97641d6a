"""The report's figures as files of their own: SVG that brings the colours of the page, and names its series."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from gensweep.report.charts import draw_charts, draw_lead
from gensweep.report.figures import CHARACTER_PIXELS, SYMBOL_PATHS, series_colour
from gensweep.report.templates import light_colours

if TYPE_CHECKING:
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison

NAME_SPACE = 'xmlns="http://www.w3.org/2000/svg"'
#: Pixels of a line of the legend, and of a symbol with the space around it.
LINE_PIXELS, SYMBOL_PIXELS = 20, 36
#: The element that the page shows where there is room.
_BROAD = re.compile(r'<svg [^>]*class="figure broad".*?</svg>', re.DOTALL)


def figure_files(comparison: Comparison, judged: BudgetVerdict) -> dict[str, str]:
    """Each panel of the report's figures, by the name of its file."""
    lead, groups = draw_lead(comparison, judged, _no_page), list(comparison.groups)
    charts = [*([] if lead is None else [lead]), *draw_charts(comparison, judged, _no_page)]
    return {
        f"{number:02d}-{_file_name(title or chart.name)}.svg": _standing_alone(
            svg, {series: groups[series] for series in chart.series}
        )
        for number, (chart, title, svg) in enumerate(
            ((chart, title, svg) for chart in charts for title, svg in chart.panels), 1
        )
    }


def _no_page(run_id: str) -> None:
    """A figure that is filed with a run leads nowhere."""


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]


def _standing_alone(svg: str, series: Mapping[int, str]) -> str:
    """The broad element with a name space, the light colours of the page, its size, and a legend below."""
    found = _BROAD.search(svg)
    assert found is not None
    colours = " ".join(f"--{name}: {colour};" for name, colour in light_colours().items())
    style = f"<style>svg {{ {colours} background: var(--card); color: var(--ink); font-family: sans-serif }}</style>"
    head, body = found[0].split(">", 1)
    view = head.split('viewBox="')[1].split('"')[0]
    width, height = map(float, view.split()[2:])
    legend, lines = _legend(series, width, height)
    whole = height + lines * LINE_PIXELS
    head = head.replace(view, f"0 0 {width:g} {whole:g}")
    head = head.replace("<svg ", f'<svg {NAME_SPACE} width="{width:g}" height="{whole:g}" ', 1)
    return f"{head}>{style}{body.removesuffix('</svg>')}{legend}</svg>\n"


def _legend(series: Mapping[int, str], width: float, top: float) -> tuple[str, int]:
    """The symbols and names of series below a figure of that size, and how many lines they take."""
    parts, x, line = list[str](), 0.0, 1
    for number, name in series.items():
        taken = SYMBOL_PIXELS + CHARACTER_PIXELS * len(name)
        if x and x + taken > width:
            x, line = 0.0, line + 1
        y = top + (line - 0.5) * LINE_PIXELS
        symbol = SYMBOL_PATHS[number % len(SYMBOL_PATHS)]
        parts.append(f'<path transform="translate({x + 8:g},{y:g})" fill="{series_colour(number)}" d="{symbol}"/>')
        words = f'<text x="{x + 18:g}" y="{y + 4:g}" font-size="12" fill="currentColor">{escape(name)}</text>'
        parts.append(words)
        x += taken
    return "".join(parts), line if series else 0
