"""The report as one HTML file that needs no network: verdict, ranking, samples, figures, the command to repeat it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gensweep.errors import GensweepError
from gensweep.report.budget_verdict import BudgetVerdict
from gensweep.report.charts import draw_charts, draw_lead
from gensweep.report.collapse import diversity_words, trial_warnings
from gensweep.report.commands import reproduce_command
from gensweep.report.comparison import Comparison
from gensweep.report.figures import SYMBOL_PATHS
from gensweep.report.pareto_table import pareto_rows, sampling_unit
from gensweep.report.ranked_trials import RankedTrial
from gensweep.report.templates import data_url, environment, script_text, write_whole
from gensweep.report.trial_notes import series_numbers
from gensweep.report.verdict import verdict_sentences
from gensweep.report.wording import (
    amount_words,
    anchor_words,
    count,
    duration,
    identity_words,
    interval_words,
    number,
    score,
    setting_list,
    size,
)
from gensweep.tracking.artifacts import sample_grid, trial_config
from gensweep.tracking.store import runs_page, ui_command

if TYPE_CHECKING:
    from gensweep.tracking.records import TrialRecord

#: What the template may call by name.
FILTERS: tuple[Callable[..., Any], ...] = (
    amount_words,
    anchor_words,
    count,
    diversity_words,
    duration,
    identity_words,
    interval_words,
    number,
    score,
    setting_list,
    size,
    trial_warnings,
)
#: Rows of the ranking that are shown at once.
TABLE_ROWS = 12
#: Grids of samples, at most.
MAX_GRIDS = 8


def write_report(comparison: Comparison, judged: BudgetVerdict, file: Path) -> None:
    """Write the page, whole or not at all.

    Raises GensweepError if the file cannot be written.
    """
    write_whole(file, render(comparison, judged), "name another file: --html FILE")


def render(comparison: Comparison, judged: BudgetVerdict) -> str:
    """The page as text.  Whatever users named is escaped."""
    pages, groups, page = environment(), comparison.groups, runs_page()

    def runs(run_id: str) -> str | None:
        return None if page is None else page + run_id

    pages.filters |= {function.__name__: function for function in FILTERS}
    return pages.get_template("report.html.j2").render(
        comparison=comparison,
        headline=(sentences := verdict_sentences(comparison, judged))[0],
        sentences=sentences[1:],
        warnings=judged.warnings,
        winner=judged.winner,
        pareto=pareto_rows(comparison, judged) if len(comparison.entries) > 1 else [],
        sampling_unit=sampling_unit,
        intervals=any(entry.score.interval for entry in comparison.entries),
        close={tie.trial.run_id for tie in comparison.ties},
        facts=_facts(comparison),
        grids=[grid for group in list(groups.values())[:MAX_GRIDS] if (grid := _grid(group[0]))],
        real=_real_images(comparison),
        groups=list(groups),
        colours=series_numbers(comparison),
        symbols=SYMBOL_PATHS,
        table_rows=TABLE_ROWS,
        lead=draw_lead(comparison, judged, runs),
        charts=draw_charts(comparison, judged, runs),
        runs=runs,
        ui_command=ui_command(),
        config=_config(judged.winner.trial),
        command=reproduce_command(judged.winner.trial),
        script=(script := script_text()),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _facts(comparison: Comparison) -> dict[str, str]:
    trials = [trial for sweep in comparison.sweeps for trial in sweep.trials]
    statuses = [trial.status for trial in trials]
    ends = [
        f"{statuses.count(status)} {status}"
        for status in ("finished", "pruned", "failed", "stopped", "running")
        if status in statuses
    ]
    return {
        "sweeps": str(len(comparison.sweeps)),
        "trials": f"{len(trials)} ({', '.join(ends)})",
        "images trained on": count(sum(trial.cost.images or 0 for trial in trials)),
        "time in training": duration(sum(trial.cost.train_seconds or 0 for trial in trials)),
    }


def _grid(entry: RankedTrial) -> dict[str, Any] | None:
    """Pictures of a trial: samples, and those that are likely copies beside their originals."""
    pictures = {key: sample_grid(entry.trial, key) for key in ("samples", "suspects")}
    urls = {key: data_url(f"{key}.png", data) for key, data in pictures.items() if data is not None}
    return {"entry": entry, "suspects": None, **urls} if "samples" in urls else None


def _real_images(comparison: Comparison) -> str | None:
    """A picture of real images: laid out like the samples of the best trial that has one, among the groups' best."""
    found = (sample_grid(group[0].trial, "real") for group in list(comparison.groups.values())[:MAX_GRIDS])
    return next((data_url("real.png", data) for data in found if data is not None), None)


def _config(trial: TrialRecord) -> str:
    try:
        tree = trial_config(trial)
    except GensweepError as error:
        return f"# {error}\n"
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False)
