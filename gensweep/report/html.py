"""The report as one HTML file that needs no network: verdict, ranking, samples, figures, the command to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gensweep.errors import GensweepError
from gensweep.report.charts import drawn
from gensweep.report.collapse import diversity_words, warnings_of
from gensweep.report.commands import reproduce_command
from gensweep.report.compare import Comparison, Entry, verdict
from gensweep.report.figures import COLOURS
from gensweep.report.templates import data_url, environment, write_whole
from gensweep.report.wording import count, duration, identity_words, interval_words, score, setting_list
from gensweep.tracking.artifacts import sample_grid, trial_config

if TYPE_CHECKING:
    from markupsafe import Markup

    from gensweep.tracking.records import TrialRecord

__all__ = ["render", "write_report"]

_TABLE_ROWS = 12
_GRIDS = 8


def write_report(comparison: Comparison, file: Path) -> None:
    """Write the page, whole or not at all.

    Raises GensweepError if the file cannot be written.
    """
    write_whole(file, render(comparison), "name another file: --html FILE")


def render(comparison: Comparison) -> str:
    """The page as text.  Whatever users named is escaped."""
    series = {comparison.group(entry.trial): index for index, entry in enumerate(comparison.best_of_groups())}
    best, charts = comparison.winner, drawn(comparison, series)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            verdict=verdict(comparison),
            title=comparison.title,
            mode=comparison.score.mode,
            intervals=any(entry.score.interval for entry in comparison.entries),
            measured=identity_words(comparison.score.identity),
            facts=_facts(comparison),
            grids=_grids(comparison, series),
            rows=[_row(entry, comparison, series) for entry in comparison.entries[:_TABLE_ROWS]],
            more_rows=[_row(entry, comparison, series) for entry in comparison.entries[_TABLE_ROWS:]],
            figures=[{"name": name, "caption": caption, "svg": _markup(svg)} for name, caption, svg in charts],
            rungs=comparison.rungs,
            winner=best.trial.name,
            again="judged" if best.trial.imported else "trained",
            config=_config(best.trial),
            command=reproduce_command(best.trial),
            failed=[{"name": t.name, "error": (t.error or "no cause on record").strip()} for t in comparison.failed],
            not_comparable=comparison.not_comparable,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    trials = [trial for sweep in comparison.sweeps for trial in sweep.trials]
    seconds = sum(trial.cost.train_seconds or 0 for trial in trials)
    images = sum(trial.cost.images or 0 for trial in trials)
    states = [trial.status for trial in trials]
    ends = ", ".join(
        f"{states.count(state)} {state}"
        for state in ("finished", "pruned", "failed", "stopped", "running")
        if state in states
    )
    return [
        ("sweeps", str(len(comparison.sweeps))),
        ("trials", f"{len(trials)} ({ends})"),
        ("images trained on", count(images)),
        ("time in training", duration(seconds)),
    ]


def _grids(comparison: Comparison, series: Mapping[str, int]) -> list[dict[str, Any]]:
    grids = []
    for entry in comparison.best_of_groups()[:_GRIDS]:
        picture = sample_grid(entry.trial)
        if picture is not None:
            source = data_url("samples.png", picture)
            suspects = sample_grid(entry.trial, "suspects")
            copies = None if suspects is None else data_url("suspects.png", suspects)
            grids.append(_row(entry, comparison, series) | {"source": source, "suspects": copies})
    return grids


def _row(entry: Entry, comparison: Comparison, series: Mapping[str, int]) -> dict[str, Any]:
    trial, cost = entry.trial, entry.trial.cost
    return {
        "rank": entry.rank,
        "sweep": trial.sweep,
        "trial": trial.trial,
        "family": trial.family,
        "colour": series[comparison.group(trial)] % COLOURS,
        "score": score(entry.score.value),
        "interval": interval_words(entry.score),
        "tie": any(tie.trial is trial for tie in comparison.ties),
        "diversity": diversity_words(trial.signals),
        "warnings": warnings_of(trial.signals),
        "status": trial.status,
        "images": count(cost.images),
        "train": duration(cost.train_seconds),
        "sample": duration(cost.sample_seconds),
        "params": count(cost.params),
        "differs": setting_list(trial.params, entry.differs),
        "run_id": trial.run_id,
    }


def _config(trial: TrialRecord) -> str:
    try:
        tree = trial_config(trial)
    except GensweepError as error:
        return f"# {error}\n"
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _markup(svg: str) -> Markup:
    # Matplotlib has escaped the text inside; everything else on the page is escaped by the template.
    from markupsafe import Markup

    return Markup(svg)
