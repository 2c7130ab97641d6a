"""The report as one offline HTML file: verdict, ranking, samples, figures, and commands to repeat the result."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from gensweep import plugins
from gensweep.config.yaml import to_yaml
from gensweep.errors import GensweepError
from gensweep.files import write_bytes
from gensweep.report import wording
from gensweep.report.caveats import caveats, format_diversity, trial_warnings
from gensweep.report.charts import budget_figure, draw_charts, format_importance, importance_rows, series_of
from gensweep.report.commands import left_out_reasons, reproduce_command
from gensweep.report.figures import SYMBOL_PATHS
from gensweep.report.pictures import gallery, picture
from gensweep.report.verdict import format_rung, format_sentences
from gensweep.results import family_name
from gensweep.sweep.stored_sweeps import trial_config
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.importance import importance
from gensweep.verdict.pareto import objective_front, pareto_rows, sampling_unit
from gensweep.verdict.recommendation import Recommendation

if TYPE_CHECKING:
    from jinja2 import Environment


def breakable(text: str) -> Markup:
    """Text that breaks after a slash first, and never before %; a command after a colon becomes code."""
    words, colon, command = text.partition(": gensweep ")
    found = escape(words).replace("/", Markup("/<wbr>")).replace(" %", "\u00a0%")
    if not colon:
        return found
    command, semicolon, rest = f"gensweep {command}".partition("; ")
    code = Markup(" ").join(Markup("<span>{}</span>").format(word) for word in command.split())
    return Markup("{}: <code>{}</code>{}{}").format(found, code, semicolon, breakable(rest))


#: Filters of the template, in addition to all functions of `wording`.
FILTERS = (breakable, family_name, format_diversity, format_importance, format_rung, importance_rows, trial_warnings)
#: Rows of the ranking that are visible at first, and rows on the page; 10,000 rows would be 9 MB.
TABLE_ROWS, MOST_ROWS = 12, 1000
#: Seconds between two reloads of the page while its sweeps run.
RELOAD_SECONDS = 10
#: Largest number of sample grids.
MAX_GRIDS = 8


def write_report(comparison: Comparison, judged: Recommendation, file: Path) -> None:
    """Write the page atomically.  Raises GensweepError if the file cannot be written."""
    write_whole(file, render(comparison, judged), "name another file: -o FILE")


def render(comparison: Comparison, judged: Recommendation, *, live: str = "") -> str:
    """The page as text.  All user input is escaped.  With `live`, the progress of its sweeps, it reloads itself."""
    pages, groups, sentences = environment(), comparison.groups, format_sentences(comparison, judged)
    ranking = [entry for entry in comparison.entries if entry.rank <= MOST_ROWS or entry is judged.recommended]
    shown = [judged.recommended if judged.recommended in group else group[0] for group in groups.values()][:MAX_GRIDS]
    pages.filters |= {name: each for name, each in vars(wording).items() if callable(each)}
    pages.filters |= {each.__name__: each for each in FILTERS}
    return pages.get_template("report.html.j2").render(
        comparison=comparison,
        headline=sentences[0],
        sentences=sentences[1:],
        warnings=list(caveats(comparison, judged)),
        recommended=judged.recommended,
        left_out=left_out_reasons(comparison),
        ranking=ranking,
        unlisted=len(comparison.entries) - len(ranking),
        pareto=pareto_rows(comparison, judged) if len(comparison.entries) > 1 else [],
        front=objective_front(comparison),
        sampling_unit=sampling_unit,
        intervals=any(entry.score.interval for entry in comparison.entries),
        close={tie.trial.name for tie in comparison.ties},
        grids=[(entry, urls, picture(entry, "suspects")) for entry in shown if (urls := picture(entry, "samples"))],
        real=next(filter(None, (picture(entry, "real") for entry in shown)), None),
        gallery=gallery(comparison, judged),
        groups=[comparison.group_name(group) for group in groups],
        series_of=lambda entry: series_of(comparison, entry),
        symbols=SYMBOL_PATHS,
        table_rows=TABLE_ROWS,
        lead=budget_figure(comparison, judged),
        charts=draw_charts(comparison, judged),
        importance=importance(comparison),
        config=to_yaml(trial_config(judged.recommended.trial)),
        command=reproduce_command(judged.recommended.trial),
        parts=[
            plugins.load_offered(each)(comparison, judged) for each in plugins.offered(plugins.REPORT_PARTS).values()
        ],
        **_page_parts(live),
    )


def render_waiting(live: str) -> str:
    """The page before the first score."""
    return environment().get_template("page.html.j2").render(headline="No score yet", **_page_parts(live))


def _page_parts(live: str) -> dict[str, str | int]:
    script = files("gensweep.report").joinpath("report.js").read_text(encoding="utf-8")
    return {
        "script": script,
        "script_hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "live": live,
        "reload_seconds": RELOAD_SECONDS,
    }


def environment(package: str = "gensweep.report") -> Environment:
    """Templates of a package, which may include the templates of this one; values are escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(name, ".") for name in dict.fromkeys([package, "gensweep.report"])])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def write_whole(file: Path, content: str | bytes, hint: str) -> None:
    """Write a file atomically and create its folder.  Raises GensweepError with the hint if that fails."""
    try:
        write_bytes(file, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise GensweepError(f"{file} cannot be written ({error.strerror}); {hint}") from error
