"""The report as one HTML file that needs no network: verdict, ranking, samples, figures, the command to repeat it."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gensweep.errors import GensweepError
from gensweep.report import figures
from gensweep.report.compare import Comparison, Entry, reproduce_command, varied, verdict
from gensweep.report.importance import parameter_importance
from gensweep.report.wording import count, duration, identity_words, score, setting_list, short_names
from gensweep.tracking.runs import metric_history, sample_grid, trial_config

if TYPE_CHECKING:
    from markupsafe import Markup

    from gensweep.tracking.runs import Trial

__all__ = ["render", "write_report"]

_TABLE_ROWS = 12
_GRIDS = 8


def write_report(comparison: Comparison, file: Path, *, root: Path = Path("sweeps")) -> None:
    """Write the page, whole or not at all.  `root` is the folder of sweeps, for their Optuna studies.

    Raises GensweepError if the file cannot be written.
    """
    page = render(comparison, root=root)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise GensweepError(f"{file} cannot be written ({error.strerror}); name another file: --html FILE") from error


def render(comparison: Comparison, *, root: Path = Path("sweeps")) -> str:
    """The page as text.  Whatever users named is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("gensweep.report", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    series = {comparison.group(entry.trial): index for index, entry in enumerate(comparison.best_of_groups())}
    best = comparison.winner
    return environment.get_template("report.html.j2").render(
        verdict=verdict(comparison),
        title=comparison.title,
        mode=comparison.score.mode,
        measured=identity_words(comparison.score.metric, comparison.score.identity),
        facts=_facts(comparison),
        grids=_grids(comparison, series),
        rows=[_row(entry, comparison, series) for entry in comparison.entries[:_TABLE_ROWS]],
        more_rows=[_row(entry, comparison, series) for entry in comparison.entries[_TABLE_ROWS:]],
        figures=_figures(comparison, series, root),
        winner=best.trial.name,
        config=_config(best.trial),
        command=reproduce_command(best.trial),
        failed=[{"name": t.name, "error": (t.error or "no cause on record").strip()} for t in comparison.failed],
        not_comparable=comparison.not_comparable,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _sweeps_by_rank(comparison: Comparison) -> list[Any]:
    by_name = {sweep.name: sweep for sweep in comparison.sweeps}
    ranked = dict.fromkeys(entry.trial.sweep for entry in comparison.entries)
    return [by_name[name] for name in ranked]


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
            source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
            grids.append(_row(entry, comparison, series) | {"source": source})
    return grids


def _row(entry: Entry, comparison: Comparison, series: Mapping[str, int]) -> dict[str, Any]:
    trial, cost = entry.trial, entry.trial.cost
    return {
        "rank": entry.rank,
        "sweep": trial.sweep,
        "trial": trial.trial,
        "family": trial.family,
        "colour": series[comparison.group(trial)] % figures.COLOURS,
        "score": score(entry.score.value),
        "status": trial.status,
        "images": count(cost.images),
        "train": duration(cost.train_seconds),
        "sample": duration(cost.sample_seconds),
        "params": count(cost.params),
        "differs": setting_list(trial.params, entry.differs),
        "run_id": trial.run_id,
    }


def _figures(comparison: Comparison, series: Mapping[str, int], root: Path) -> list[dict[str, Any]]:
    inside = {entry.trial.run_id for entry in comparison.entries}
    ranked: dict[str, list[Trial]] = {name: [] for name in series}
    for sweep in comparison.sweeps:
        for trial in sweep.trials:
            if trial.run_id in inside:
                ranked[comparison.group(trial)].append(trial)
    best = comparison.winner.trial.run_id
    points = {name: [_point(trial, series[name], best) for trial in trials] for name, trials in ranked.items()}
    names = {index: name for name, index in series.items()}
    everything = [point for group in points.values() for point in group]
    direction = "Lower" if comparison.score.mode == "min" else "Higher"
    title = comparison.title
    found = [
        (
            "Optimisation history",
            f"Each trial's best {title} in the order of trials; the line is the best so far. {direction} is better.",
            figures.history_figure(points, title, comparison.score.mode),
        )
    ]
    if any(point.images or point.train_seconds for point in everything):
        caption = f"{title} against what it took. Open circles were stopped early; the ring marks the winner."
        found.append((f"{title} against cost", caption, figures.cost_figure(everything, names, title)))
    importance = _importance(comparison, root)
    if importance:
        caption = "Share of the score's variance that each setting explains within its sweep (Optuna's estimate)."
        found.append(
            (
                "What mattered",
                caption,
                figures.importance_figure(importance, {name: series.get(name, 0) for name in importance}),
            )
        )
    curves = {name: [_curve(trial, series[name]) for trial in trials] for name, trials in ranked.items()}
    if any(len(curve.points) > 1 for group in curves.values() for curve in group):
        caption = f"{title} of each trial as it saw more images; the best of each panel is drawn strongly."
        found.append(("Every trial", caption, figures.curves_figure(_mark_best(curves, ranked), title)))
    return [{"name": name, "caption": caption, "svg": _markup(svg)} for name, caption, svg in found]


def _point(trial: Trial, series: int, best: str) -> figures.Point:
    value = trial.objective.value if trial.objective is not None else 0.0
    return figures.Point(
        trial.name,
        series,
        value,
        trial.cost.images,
        trial.cost.train_seconds,
        pruned=trial.status == "pruned",
        best=trial.run_id == best,
    )


def _curve(trial: Trial, series: int) -> figures.Curve:
    metric = trial.objective.metric if trial.objective is not None else ""
    return figures.Curve(trial.trial, series, metric_history(trial, metric))


def _mark_best(
    curves: Mapping[str, list[figures.Curve]], ranked: Mapping[str, list[Trial]]
) -> dict[str, list[figures.Curve]]:
    marked = {}
    for name, group in curves.items():
        best = min(ranked[name], key=lambda trial: trial.objective.order if trial.objective else float("inf"))
        marked[name] = [figures.Curve(c.label, c.series, c.points, best=c.label == best.trial) for c in group]
    return marked


def _importance(comparison: Comparison, root: Path) -> dict[str, dict[str, float]]:
    found = {}
    for sweep in _sweeps_by_rank(comparison):
        shares = parameter_importance(sweep, root)
        short = short_names([*varied(sweep.trials), *shares])
        if shares:
            found[sweep.name] = {short[key]: share for key, share in shares.items()}
    return found


def _config(trial: Trial) -> str:
    try:
        tree = trial_config(trial.run_id)
    except GensweepError as error:
        return f"# {error}\n"
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _markup(svg: str) -> Markup:
    # Matplotlib has escaped the text inside; everything else on the page is escaped by the template.
    from markupsafe import Markup

    return Markup(svg)
