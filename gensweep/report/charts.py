"""Which figures a report has, and from what of its trials each is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gensweep.report import figures
from gensweep.report.compare import Comparison, varied
from gensweep.report.importance import parameter_importance
from gensweep.report.wording import short_names
from gensweep.tracking.artifacts import metric_history

if TYPE_CHECKING:
    from gensweep.tracking.records import SweepRecord, TrialRecord

__all__ = ["Chart", "drawn"]

#: Panels of what GANs log: signals, and what is said of each beside its group's name.
SIGNALS = {
    "part of images that the discriminator is right about": {
        "signal/accuracy_real": "",
        "signal/accuracy_fake": ", generated images",
    },
    "probability of an augmentation": {"signal/augmentation": ""},
    "timesteps of the diffusion": {"signal/diffusion_length": ""},
}


class Chart(NamedTuple):
    """A figure with a headline and a caption."""

    name: str
    caption: str
    svg: str


def drawn(comparison: Comparison, series: Mapping[str, int]) -> list[Chart]:
    """All figures that these trials have something for.

    `series` numbers the colours of groups of trials.
    """
    inside = {entry.trial.run_id for entry in comparison.entries}
    ranked: dict[str, list[TrialRecord]] = {name: [] for name in series}
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
        Chart(
            "Optimisation history",
            f"Each trial's best {title} in the order of trials; the line is the best so far. {direction} is better.",
            figures.history_figure(points, title, comparison.score.mode),
        )
    ]
    if any(point.images or point.train_seconds for point in everything):
        caption = f"{title} against what it took. Open circles were stopped early; the ring marks the winner."
        found.append(Chart(f"{title} against cost", caption, figures.cost_figure(everything, names, title)))
    importance = _importance(comparison)
    if importance:
        caption = "Share of the score's variance that each setting explains within its sweep (Optuna's estimate)."
        bars = figures.importance_figure(importance, {name: series.get(name, 0) for name in importance})
        found.append(Chart("What mattered", caption, bars))
    curves = {name: [_curve(trial, series[name]) for trial in trials] for name, trials in ranked.items()}
    if any(len(curve.points) > 1 for group in curves.values() for curve in group):
        caption = f"{title} of each trial as it saw more images; the best of each panel is drawn strongly."
        found.append(Chart("Every trial", caption, figures.curves_figure(_mark_best(curves, ranked), title)))
    signals = _signals(comparison, series)
    if signals:
        caption = "What the best GAN of each group logged as it trained."
        found.append(Chart("How the games went", caption, figures.signals_figure(signals)))
    return found


def _point(trial: TrialRecord, series: int, best: str) -> figures.Point:
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


def _curve(trial: TrialRecord, series: int) -> figures.Curve:
    metric = trial.objective.metric if trial.objective is not None else ""
    return figures.Curve(trial.trial, series, metric_history(trial, metric))


def _mark_best(
    curves: Mapping[str, list[figures.Curve]], ranked: Mapping[str, list[TrialRecord]]
) -> dict[str, list[figures.Curve]]:
    marked = {}
    for name, group in curves.items():
        best = ranked[name][0]
        marked[name] = [figures.Curve(c.label, c.series, c.points, best=c.label == best.trial) for c in group]
    return marked


def _importance(comparison: Comparison) -> dict[str, dict[str, float]]:
    found = {}
    for sweep in _sweeps_by_rank(comparison):
        shares = parameter_importance(sweep)
        short = short_names([*varied(sweep.trials), *shares])
        if shares:
            found[sweep.name] = {short[key]: share for key, share in shares.items()}
    return found


def _sweeps_by_rank(comparison: Comparison) -> list[SweepRecord]:
    by_name = {sweep.name: sweep for sweep in comparison.sweeps}
    return [by_name[name] for name in dict.fromkeys(entry.trial.sweep for entry in comparison.entries)]


def _signals(comparison: Comparison, series: Mapping[str, int]) -> dict[str, list[figures.Curve]]:
    """Panels of what the best trial of each group logged, those without a point left out."""
    panels: dict[str, list[figures.Curve]] = {}
    for entry in comparison.best_of_groups():
        name = comparison.group(entry.trial)
        for panel, signals in SIGNALS.items():
            for signal, label in signals.items():
                if points := metric_history(entry.trial, signal):
                    text = f"{name}{label}"
                    panels.setdefault(panel, []).append(figures.Curve(text, series[name], points, faint=bool(label)))
    return panels
