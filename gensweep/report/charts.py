"""Which figures a report has, and what of its trials each shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from gensweep.report.comparison import Comparison
from gensweep.report.figures import draw_bars, draw_panel
from gensweep.report.importance import parameter_importance
from gensweep.report.plots import Axis, Bar, Bars, Dot, Line, Note, Panel
from gensweep.report.ranked_trials import RankedTrial, varied
from gensweep.report.wording import count, duration, score, setting_words, short_names
from gensweep.results import Score, better
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
#: Bars of a panel of parameter importance, at most.
MAX_BARS = 8
#: What the trials of a comparison took, and what each is called.
COSTS = {"images": "training images", "train_seconds": "training seconds"}

Runs = Callable[[str], str | None]
"""The page of a run, by its id, if it has one."""


class Chart(NamedTuple):
    """A figure with a headline, a caption, the series that a panel distinguishes, and its panels: title and SVG."""

    name: str
    caption: str
    series: tuple[int, ...]
    panels: tuple[tuple[str, str], ...]


class Plan(NamedTuple):
    """What a chart shows, before it is drawn."""

    name: str
    caption: str
    panels: Sequence[Panel | Bars]


def draw_charts(comparison: Comparison, runs: Runs) -> list[Chart]:
    """All figures that the ranked trials have something for."""
    plans = [
        _history(comparison, runs),
        _costs(comparison, runs),
        _importance(comparison),
        _curves(comparison, runs),
        _signals(comparison, runs),
    ]
    return [_drawn(plan, f"figure-{number}") for number, plan in enumerate(plans, 1) if plan.panels]


def _drawn(plan: Plan, name: str) -> Chart:
    panels, colours = [], set[int]()
    for number, panel in enumerate(plan.panels, 1):
        title = f"{plan.name}: {panel.title}" if panel.title else plan.name
        if isinstance(panel, Bars):
            svg = draw_bars(panel, f"{name}-{number}", title, plan.caption)
        else:
            svg = draw_panel(panel, f"{name}-{number}", title, plan.caption)
            found = {mark.colour for marks in (panel.lines, panel.dots) for mark in marks}
            colours |= found if len(found) > 1 else set()
        panels.append((panel.title, svg))
    return Chart(plan.name, plan.caption, tuple(sorted(colours)), tuple(panels))


def note(entry: RankedTrial, title: str, runs: Runs) -> Note:
    """What is said of a trial under the pointer."""
    trial, cost = entry.trial, entry.trial.cost
    took = [f"{count(cost.images)} images"] if cost.images else []
    took += [f"{duration(cost.train_seconds)} of training"] if cost.train_seconds else []
    ending = "" if trial.status == "finished" else f", {trial.status}"
    lines = [f"{trial.name} ({trial.family}{ending})", f"{title} {score(entry.score.value)}", ", ".join(took)]
    return Note(tuple(filter(None, [*lines, setting_words(trial.params, entry.differs)])), runs(trial.run_id))


def _history(comparison: Comparison, runs: Runs) -> Plan:
    lines, dots = [], []
    for colour, group in enumerate(comparison.groups.values()):
        entries = sorted(group, key=lambda each: each.trial.trial)
        best = accumulate((each.score for each in entries), _better_one)
        lines.append(Line(colour, [(number, each.value) for number, each in enumerate(best, 1)], step=True))
        dots += [
            _dot(each, colour, number, note(each, comparison.title, runs)) for number, each in enumerate(entries, 1)
        ]
    caption = (
        f"Each trial's best {comparison.title} in the order of trials; the line is the best so far. "
        f"{comparison.direction} is better. Hollow: stopped early."
    )
    return Plan(
        "Optimisation history",
        caption,
        [Panel(Axis("trial", log=False, whole=True), Axis(comparison.title), lines=lines, dots=dots)],
    )


def _better_one(best: Score, new: Score) -> Score:
    return new if better(new, best) else best


def _costs(comparison: Comparison, runs: Runs) -> Plan:
    heights = [each.score.value for each in comparison.entries]
    panels = []
    for cost, words in COSTS.items():
        dots = [
            _dot(each, colour, spent, note(each, comparison.title, runs))
            for colour, group in enumerate(comparison.groups.values())
            for each in group
            if (spent := getattr(each.trial.cost, cost))
        ]
        if dots:
            panels.append(Panel(Axis(words), Axis(comparison.title), words, dots=dots, alike=heights))
    caption = f"{comparison.title} against what it took. Hollow marks were stopped early; the ring is the winner."
    return Plan(f"{comparison.title} against cost", caption, panels)


def _dot(entry: RankedTrial, colour: int, x: float, words: Note) -> Dot:
    stopped, best = entry.trial.status == "pruned", entry.rank == 1
    return Dot(colour, x, entry.score.value, words, hollow=stopped, ringed=best, faint=not best)


def _importance(comparison: Comparison) -> Plan:
    """Shares by sweep, the one with the best trial first, and by short name of the setting."""
    panels, sweeps = [], {sweep.name: sweep for sweep in comparison.sweeps}
    colours = {name: index for index, name in enumerate(comparison.groups)}
    for name in dict.fromkeys(each.trial.sweep for each in comparison.entries):
        if shares := parameter_importance(sweeps[name]):
            short = short_names([*varied(sweeps[name].trials), *shares])
            bars = [Bar(short[key], share) for key, share in list(shares.items())[:MAX_BARS]]
            panels.append(Bars(colours.get(name, 0), bars, name))
    caption = "Share of the score's variance that each setting explains within its sweep (Optuna's estimate)."
    return Plan("What mattered", caption, panels)


def _curves(comparison: Comparison, runs: Runs) -> Plan:
    """Scores over images seen, one panel a group, the best trial of each drawn strongly."""
    title, metric, panels = comparison.title, comparison.score.metric, []
    groups = {
        name: [(each, metric_history(each.trial, metric)) for each in group]
        for name, group in comparison.groups.items()
    }
    heights = [value for group in groups.values() for _, points in group for _, value in points]
    for colour, (name, group) in enumerate(groups.items()):
        lines = [
            Line(colour, points, note(each, title, runs), faint=each is not group[0][0])
            for each, points in group
            if points
        ]
        if any(len(line.points) > 1 for line in lines):
            ends = [Dot(colour, *line.points[-1], line.note, faint=line.faint) for line in lines]
            panels.append(Panel(Axis("training images"), Axis(title), name, lines=lines, dots=ends, alike=heights))
    caption = f"{title} of each trial as it saw more images; the best of each panel is drawn strongly."
    return Plan("Every trial", caption, panels)


def _signals(comparison: Comparison, runs: Runs) -> Plan:
    """Panels of what the best trial of each group logged, those without a point left out."""
    panels = []
    for panel, signals in SIGNAL_PANELS.items():
        lines = []
        for colour, (name, group) in enumerate(comparison.groups.items()):
            best = group[0].trial
            for signal, words in signals.items():
                if points := metric_history(best, signal):
                    end = f"{best.name}, at the end {score(points[-1][1])}"
                    said = Note((f"{name}{words}", end), runs(best.run_id))
                    lines.append(Line(colour, points, said, dashed=bool(words)))
        if lines:
            panels.append(Panel(Axis("training images"), Axis(""), panel, lines=lines))
    caption = "What the best GAN of each group logged as it trained; dashed: of generated images."
    return Plan("How the games went", caption, panels)
