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
from gensweep.families.spelling import family_name
from gensweep.report.budget_verdict import BudgetVerdict
from gensweep.report.charts import draw_charts, draw_lead
from gensweep.report.collapse import diversity_words, trial_warnings
from gensweep.report.commands import reproduce_command
from gensweep.report.comparison import Comparison
from gensweep.report.figures import SYMBOL_PATHS
from gensweep.report.page_pictures import sample_tiles
from gensweep.report.pareto_table import objective_front, pareto_rows, sampling_unit
from gensweep.report.plan_ahead import PLANNED_FACTOR, PlanAhead, plan_ahead
from gensweep.report.templates import environment, script_text, write_whole
from gensweep.report.trial_notes import series_numbers
from gensweep.report.verdict import verdict_sentences
from gensweep.report.wording import (
    amount_words,
    anchor_words,
    count,
    duration,
    guess_words,
    identity_words,
    interval_words,
    lineage_words,
    named_amount,
    number,
    score,
    setting_list,
    size,
)
from gensweep.tracking.artifacts import trial_config
from gensweep.tracking.store import MODEL_TRAINING, runs_page, ui_command

if TYPE_CHECKING:
    from gensweep.tracking.records import TrialRecord

#: What the template may call by name.
FILTERS: tuple[Callable[..., Any], ...] = (
    amount_words,
    anchor_words,
    count,
    diversity_words,
    duration,
    family_name,
    guess_words,
    identity_words,
    interval_words,
    lineage_words,
    named_amount,
    number,
    score,
    setting_list,
    size,
    trial_warnings,
)
#: Rows of the ranking that are shown at once, and that the page holds; all of 10,000 would be 9 MB.
TABLE_ROWS, MOST_ROWS = 12, 1000
#: Grids of samples, at most.
MAX_GRIDS = 8


def write_report(comparison: Comparison, judged: BudgetVerdict, file: Path) -> None:
    """Write the page, whole or not at all.

    Raises GensweepError if the file cannot be written.
    """
    write_whole(file, render(comparison, judged, plan_ahead(comparison, judged)), "name another file: --html FILE")


def render(comparison: Comparison, judged: BudgetVerdict, ahead: PlanAhead | None = None) -> str:
    """The page as text, with what it says of a larger budget.  Whatever users named is escaped."""
    pages, groups, page = environment(), comparison.groups, runs_page()

    def runs(run_id: str) -> str | None:
        return None if page is None else f"{page}{run_id}{MODEL_TRAINING}"

    shown = [judged.winner if judged.winner in group else group[0] for group in groups.values()]
    grids, real = sample_tiles(shown[:MAX_GRIDS])
    pages.filters |= {function.__name__: function for function in FILTERS}
    return pages.get_template("report.html.j2").render(
        comparison=comparison,
        headline=(sentences := verdict_sentences(comparison, judged))[0],
        sentences=sentences[1:],
        warnings=judged.warnings,
        winner=judged.winner,
        ranking=(
            ranking := [entry for entry in comparison.entries if entry.rank <= MOST_ROWS or entry is judged.winner]
        ),
        unlisted=len(comparison.entries) - len(ranking),
        ahead=ahead,
        planned_factor=PLANNED_FACTOR,
        pareto=pareto_rows(comparison, judged) if len(comparison.entries) > 1 else [],
        front=objective_front(comparison),
        sampling_unit=sampling_unit,
        intervals=any(entry.score.interval for entry in comparison.entries),
        close={tie.trial.run_id for tie in comparison.ties},
        facts=_facts(comparison),
        grids=grids,
        real=real,
        groups=[comparison.group_name(group) for group in groups],
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
        for status in ("finished", "pruned", "failed", "infeasible", "stopped", "running", "paused", "waiting")
        if status in statuses
    ]
    return {
        "sweeps": str(len(comparison.sweeps)),
        "trials": f"{len(trials)} ({', '.join(ends)})",
        "images trained on": count(sum(trial.cost.images or 0 for trial in trials)),
        "time in training": duration(sum(trial.cost.train_seconds or 0 for trial in trials)),
    }


def _config(trial: TrialRecord) -> str:
    try:
        tree = trial_config(trial)
    except GensweepError as error:
        return f"# {error}\n"
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False)
