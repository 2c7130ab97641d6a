"""Which figures a report has, and what of its trials each shows."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from gensweep.report.anchor_levels import anchor_levels
from gensweep.report.budget_charts import budget_plan, cost_plan, front_plan, trainings_plan
from gensweep.report.comparison import Comparison
from gensweep.report.figures import draw_bars, draw_panel
from gensweep.report.importance_charts import settings_plan
from gensweep.report.plots import Axis, Bars, Dot, FigureData, Line, Note, Panel
from gensweep.report.trial_notes import MAX_DRAWN_TRIALS, Runs, trial_note
from gensweep.report.wording import score
from gensweep.results import Score, better
from gensweep.tracking.artifacts import metric_history

if TYPE_CHECKING:
    from gensweep.report.budget_verdict import BudgetVerdict

#: Panels of what GANs log: signals, and what is said of each beside its group's name.
SIGNAL_PANELS = {
    "part of images that the discriminator is right about": {
        "signal/accuracy_real": "",
        "signal/accuracy_fake": ", generated images",
        "signal/accuracy_pairs": ", pairs of both",
    },
    "probability of an augmentation": {"signal/augmentation": ""},
    "timesteps of the diffusion": {"signal/diffusion_length": ""},
}


class Chart(NamedTuple):
    """A figure with a headline, a caption, the series that a panel distinguishes, and its panels: title and SVG."""

    name: str
    caption: str
    series: tuple[int, ...]
    panels: tuple[tuple[str, str], ...]


def draw_lead(comparison: Comparison, verdict: BudgetVerdict, runs: Runs) -> Chart | None:
    """The figure of the first screen: what a budget buys; None if no training is on record."""
    plan = budget_plan(comparison, verdict, runs)
    return _drawn(plan, "lead", large=True) if plan.panels else None


def draw_charts(comparison: Comparison, verdict: BudgetVerdict, runs: Runs) -> list[Chart]:
    """All other figures that the ranked trials have something for."""
    plans = [
        front_plan(comparison, verdict, runs),
        cost_plan(comparison, verdict, runs),
        settings_plan(comparison, runs),
        trainings_plan(comparison, verdict, runs),
        _history(comparison, runs),
        _signals(comparison, runs),
    ]
    return [_drawn(plan, f"figure-{number}") for number, plan in enumerate(plans, 1) if plan.panels]


def _drawn(plan: FigureData, name: str, *, large: bool = False) -> Chart:
    panels, colours = [], set[int]()
    for number, panel in enumerate(plan.panels, 1):
        title = f"{plan.name}: {panel.title}" if panel.title else plan.name
        if isinstance(panel, Bars):
            svg = draw_bars(panel, f"{name}-{number}", title, plan.caption)
        else:
            svg = draw_panel(panel, f"{name}-{number}", title, plan.caption, large=large)
            found = {mark.colour for marks in (panel.lines, panel.dots) for mark in marks}
            colours |= found if len(found) > 1 else set()
        panels.append((panel.title, svg))
    return Chart(plan.name, plan.caption, tuple(sorted(colours)), tuple(panels))


def _history(comparison: Comparison, runs: Runs) -> FigureData:
    lines, dots = [], []
    for colour, group in enumerate(comparison.groups.values()):
        entries = sorted(group, key=lambda each: each.trial.trial)
        best = accumulate((each.score for each in entries), _better_one)
        lines.append(Line(colour, _corners([(number, each.value) for number, each in enumerate(best, 1)]), step=True))
        dots += [
            Dot(
                colour,
                number,
                each.score.value,
                trial_note(comparison, each, runs),
                hollow=each.trial.status == "pruned",
                faint=True,
            )
            for number, each in enumerate(entries, 1)
            if each.rank <= MAX_DRAWN_TRIALS
        ]
    levels = anchor_levels(comparison, [dot.y for dot in dots])
    caption = (
        f"Each trial's best {comparison.title} in the order of trials; the line is the best so far. "
        f"{comparison.direction} is better. Hollow: stopped early."
    )
    return FigureData(
        "Optimisation history",
        caption,
        [Panel(Axis("trial", log=False, whole=True), Axis(comparison.title), lines=lines, dots=dots, levels=levels)],
    )


def _better_one(best: Score, new: Score) -> Score:
    return new if better(new, best) else best


def _corners(steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points of a line of steps where it changes, its first and its last one."""
    changes = [new for old, new in pairwise(steps) if new[1] != old[1]]
    return list(dict.fromkeys([steps[0], *changes, steps[-1]]))


def _signals(comparison: Comparison, runs: Runs) -> FigureData:
    """Panels of what the best trial of each group logged, those without a point left out."""
    panels = []
    for panel, signals in SIGNAL_PANELS.items():
        lines = []
        for colour, (name, group) in enumerate(comparison.groups.items()):
            best = group[0].trial
            for signal, words in signals.items():
                if points := metric_history(best, signal):
                    end = f"{best.name}, at the end {score(points[-1][1])}"
                    said = Note((f"{comparison.group_name(name)}{words}", end), runs(best.run_id))
                    of_pairs = signal == "signal/accuracy_pairs"
                    lines.append(Line(colour, points, said, faint=of_pairs, dashed=bool(words) and not of_pairs))
        if lines:
            panels.append(Panel(Axis("training images"), Axis(""), panel, lines=lines))
    caption = "What the best GAN of each group logged as it trained; dashed: of generated images; faint: of pairs."
    return FigureData("How the games went", caption, panels)
