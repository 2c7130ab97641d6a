"""The report's figures as files of their own: SVG that brings the colours of the page."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from gensweep.report.charts import draw_charts, draw_lead

if TYPE_CHECKING:
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison

NAME_SPACE = 'xmlns="http://www.w3.org/2000/svg"'
#: The element that the page shows where there is room.
_BROAD = re.compile(r'<svg [^>]*class="figure broad".*?</svg>', re.DOTALL)


def figure_files(comparison: Comparison, judged: BudgetVerdict) -> dict[str, str]:
    """Each panel of the report's figures, by the name of its file."""
    lead = draw_lead(comparison, judged, _no_page)
    charts = [*([] if lead is None else [lead]), *draw_charts(comparison, judged, _no_page)]
    return {
        f"{number:02d}-{_file_name(title or chart.name)}.svg": _standing_alone(svg)
        for number, (chart, title, svg) in enumerate(
            ((chart, title, svg) for chart in charts for title, svg in chart.panels), 1
        )
    }


def _no_page(run_id: str) -> None:
    """A figure that is filed with a run leads nowhere."""


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]


def _standing_alone(svg: str) -> str:
    """The broad element with a name space, the light colours of the page, and its size."""
    found = _BROAD.search(svg)
    assert found is not None
    css = files("gensweep.report").joinpath("style.css.j2").read_text(encoding="utf-8")
    colours = css[css.index("{") + 1 : css.index("}")].strip()
    style = f"<style>svg {{ {colours} background: var(--card); color: var(--ink); font-family: sans-serif }}</style>"
    head, body = found[0].split(">", 1)
    width, height = head.split('viewBox="')[1].split('"')[0].split()[2:]
    return head.replace("<svg ", f'<svg {NAME_SPACE} width="{width}" height="{height}" ', 1) + f">{style}{body}\n"
