"""Which figures a report has, and what of its trials each shows."""

from __future__ import annotations

from typing import NamedTuple

from gensweep.report import figures
from gensweep.report.comparison import Comparison
from gensweep.report.importance import parameter_importance
from gensweep.report.ranked_trials import varied
from gensweep.report.wording import short_names
from gensweep.tracking.artifacts import metric_history

#: Panels of what GANs log: signals, and what is said of each beside its group's name.
SIGNAL_PANELS = {
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


def draw_charts(comparison: Comparison) -> list[Chart]:
    """All figures that the ranked trials have something for."""
    title, groups = comparison.title, comparison.groups
    in_order = {name: sorted(group, key=lambda each: each.trial.trial) for name, group in groups.items()}
    caption = (
        f"Each trial's best {title} in the order of trials; the line is the best so far. "
        f"{comparison.direction} is better."
    )
    charts = [Chart("Optimisation history", caption, figures.history_figure(in_order, title))]
    costs = [each.trial.cost for each in comparison.entries]
    if any(cost.images or cost.train_seconds for cost in costs):
        caption = f"{title} against what it took. Open circles were stopped early; the ring marks the winner."
        charts.append(Chart(f"{title} against cost", caption, figures.cost_figure(in_order, title)))
    colours = {name: index for index, name in enumerate(groups)}
    if importance := _importance(comparison):
        caption = "Share of the score's variance that each setting explains within its sweep (Optuna's estimate)."
        svg = figures.importance_figure(importance, {name: colours.get(name, 0) for name in importance})
        charts.append(Chart("What mattered", caption, svg))
    metric = comparison.score.metric
    curves = {
        name: [figures.Curve(each.trial.trial, colours[name], metric_history(each.trial, metric)) for each in group]
        for name, group in groups.items()
    }
    if any(len(curve.points) > 1 for group in curves.values() for curve in group):
        caption = f"{title} of each trial as it saw more images; the best of each panel is drawn strongly."
        charts.append(Chart("Every trial", caption, figures.curves_figure(curves, title)))
    if signals := _signals(comparison):
        caption = "What the best GAN of each group logged as it trained."
        charts.append(Chart("How the games went", caption, figures.signals_figure(signals)))
    return charts


def _importance(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Shares by sweep, the one with the best trial first, and by short name of the setting."""
    found, sweeps = {}, {sweep.name: sweep for sweep in comparison.sweeps}
    for name in dict.fromkeys(each.trial.sweep for each in comparison.entries):
        if shares := parameter_importance(sweeps[name]):
            short = short_names([*varied(sweeps[name].trials), *shares])
            found[name] = {short[key]: share for key, share in shares.items()}
    return found


def _signals(comparison: Comparison) -> dict[str, list[figures.Curve]]:
    """Panels of what the best trial of each group logged, those without a point left out."""
    panels: dict[str, list[figures.Curve]] = {}
    for colour, (name, group) in enumerate(comparison.groups.items()):
        for panel, signals in SIGNAL_PANELS.items():
            for signal, words in signals.items():
                if points := metric_history(group[0].trial, signal):
                    curve = figures.Curve(f"{name}{words}", colour, points, faint=bool(words))
                    panels.setdefault(panel, []).append(curve)
    return panels
