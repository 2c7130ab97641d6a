"""The figures of scores against compute: what a budget buys, each training on its way, and what models cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gensweep.report.anchor_levels import anchor_levels
from gensweep.report.pareto_table import ParetoRow, objective_rows, priced_models, sampling_unit
from gensweep.report.plots import Axis, Band, Crossing, Dot, FigureData, Line, Note, Panel, SharedNote
from gensweep.report.trial_notes import MAX_DRAWN_TRIALS, Runs, series_numbers, trial_note
from gensweep.report.verdict import group_words
from gensweep.report.wording import amount_range, amount_words, named_amount, rough
from gensweep.results import Unit

if TYPE_CHECKING:
    from gensweep.compute.curves import TrainingCurve
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison
    from gensweep.report.training_curves import TrainedCurves

#: Seconds of each unit of time on an axis; the largest is taken that is not more than half of the largest value.
_TIMES = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


@dataclass(frozen=True)
class _Scale:
    """Amounts of a unit on an axis: its title, and how many of the unit its numbers count."""

    title: str
    per: float

    @classmethod
    def of(cls, unit: Unit, what: str, amounts: Sequence[float]) -> _Scale:
        if unit != "device_seconds":
            return cls(f"{what} {'FLOPs' if unit == 'flops' else 'images'}", 1.0)
        largest = max(amounts, default=0.0)
        name = next((name for name, seconds in _TIMES.items() if largest >= 2 * seconds), "seconds")
        return cls(f"{what} {name}", _TIMES[name])


def budget_plan(comparison: Comparison, verdict: BudgetVerdict, runs: Runs) -> FigureData:
    """The curves of groups with bands, those of trainings behind them, and where the verdict flips."""
    trained = verdict.trained
    if trained is None:
        return FigureData("What a budget buys", "", ())
    extra = verdict.overheads
    everything = [point.spent + extra.get(curve.group, 0.0) for curve in trained.curves for point in curve.points]
    scale = _Scale.of(trained.unit, "training and drawing" if verdict.draw else "training", everything)
    number = {group: index for index, group in enumerate(comparison.groups)}
    lines, dots = _trainings(comparison, verdict, trained, runs, lambda curve: (number[curve.group], scale.per))
    for curve in verdict.curves:
        points = [(point.budget / scale.per, point.best) for point in curve.points]
        lines.append(Line(number[curve.group], points, step=True))
    bands = [
        Band(
            number[curve.group],
            [
                (point.budget / scale.per, point.low, point.high)
                for point in curve.points
                if point.low is not None and point.high is not None
            ],
            step=True,
        )
        for curve in verdict.curves
    ]
    heights = [dot.y for dot in dots] + [y for line in lines for _, y in line.points]
    panel = Panel(
        Axis(scale.title, log=True),
        Axis(comparison.title),
        lines=lines,
        dots=dots,
        bands=bands,
        levels=anchor_levels(comparison, heights),
        crossings=_crossings(comparison, verdict, trained.unit, scale.per),
        readings=_readings(comparison, verdict, trained.unit, scale.per),
    )
    return FigureData("What a budget buys", _caption(comparison, verdict), (panel,))


def _caption(comparison: Comparison, verdict: BudgetVerdict) -> str:
    tries = "one configuration" if verdict.tries == 1 else f"the best of {verdict.tries} configurations"
    bands = any(point.low is not None for curve in verdict.curves for point in curve.points)
    said = [f"Strong: what {tries} is expected to reach{', with its 95 % band' if bands else ''}."]
    few = f"the best {MAX_DRAWN_TRIALS} trainings" if len(comparison.entries) > MAX_DRAWN_TRIALS else "each training"
    faint = f"Faint: {few}; hollow ends were stopped early."
    said = [*said, faint] if verdict.curves else [faint]
    if verdict.flips:
        said.append("Dashed: where the verdict flips, with its 95 % interval.")
    if verdict.budget is not None:
        said.append("Dotted: its budget.")
    return " ".join([*said, f"{comparison.direction} is better."])


def _trainings(
    comparison: Comparison,
    verdict: BudgetVerdict,
    trained: TrainedCurves,
    runs: Runs,
    look: Callable[[TrainingCurve], tuple[int, float]],
) -> tuple[list[Line], list[Dot]]:
    """Each training's curve and its end; strong are the best of groups that have no curve of their own."""
    sign = 1 if comparison.score.mode == "min" else -1
    drawn, lines, dots = {curve.group for curve in verdict.curves}, [], []
    for curve in trained.curves:
        colour, per = look(curve)
        paid, entry = verdict.overheads.get(curve.group, 0.0), trained.entries[curve.trial]
        if entry.rank > MAX_DRAWN_TRIALS:
            continue
        points = [((point.spent + paid) / per, sign * point.order) for point in curve.points]
        note, faint = trial_note(comparison, entry, runs), curve.group in drawn
        drawn.add(curve.group)
        lines.append(Line(colour, points, note, faint=faint))
        won = entry is verdict.winner
        dots.append(Dot(colour, *points[-1], note, hollow=curve.stopped_early, ringed=won, faint=not won))
    return lines, dots


def _crossings(comparison: Comparison, verdict: BudgetVerdict, unit: Unit, per: float) -> list[Crossing]:
    """Flips, each with its interval and what is best on either side, and the budget of the verdict."""
    found = []
    for flip in verdict.flips:
        if flip.low is not None and flip.high is not None:
            below, above = group_words(comparison, verdict, flip.below), group_words(comparison, verdict, flip.above)
            ends = f"95 %: {amount_range(flip.low, flip.high, unit)}"
            note = Note((f"below {amount_words(flip.value, unit)} {below}, above {above}", ends))
            interval = flip.low / per, flip.high / per
            found.append(Crossing(f"{below} \u2190", f"\u2192 {above}", flip.value / per, interval, note))
    if verdict.budget is not None:
        at, words = verdict.budget.value / per, f"the verdict: {amount_words(verdict.budget.value, unit)}"
        found.append(Crossing("", "", at, (at, at), Note((words,)), faint=True))
    return found


def _readings(comparison: Comparison, verdict: BudgetVerdict, unit: Unit, per: float) -> list[SharedNote]:
    """At each budget, what it buys of each group."""
    words: dict[float, list[str]] = {}
    for curve in verdict.curves:
        for point in curve.points:
            known = point.low is not None and point.high is not None
            band = f" ({rough(point.low or 0.0)} to {rough(point.high or 0.0)})" if known else ""
            words.setdefault(point.budget, []).append(f"{comparison.group_name(curve.group)} {rough(point.best)}{band}")
    return [
        SharedNote(budget / per, Note((f"for {amount_words(budget, unit)}", *lines))) for budget, lines in words.items()
    ]


def trainings_plan(comparison: Comparison, verdict: BudgetVerdict, runs: Runs) -> FigureData:
    """Each group's trainings in a panel of their own, the best drawn strongly."""
    trained, name = verdict.trained, "Every trial"
    if trained is None or len({curve.group for curve in trained.curves}) < 2:
        return FigureData(name, "", ())
    sign = 1 if comparison.score.mode == "min" else -1
    scale = _Scale.of(trained.unit, "training", [curve.spent for curve in trained.curves])
    heights = [sign * point.order for curve in trained.curves for point in curve.points]
    levels, panels = anchor_levels(comparison, heights), []
    for colour, group in enumerate(comparison.groups):
        lines: list[Line] = []
        for curve in (curve for curve in trained.curves if curve.group == group):
            if trained.entries[curve.trial].rank > MAX_DRAWN_TRIALS:
                continue
            note = trial_note(comparison, trained.entries[curve.trial], runs)
            points = [(point.spent / scale.per, sign * point.order) for point in curve.points]
            lines.append(Line(colour, points, note, faint=bool(lines)))
        if any(len(line.points) > 1 for line in lines):
            ends = [Dot(colour, *line.points[-1], line.note, faint=line.faint) for line in lines]
            axes = Axis(scale.title), Axis(comparison.title)
            panels.append(Panel(*axes, comparison.group_name(group), lines, ends, levels=levels, alike=heights))
    return FigureData(
        name, f"{comparison.title} of each trial as it trained; the best of each panel is strong.", panels
    )


def cost_plan(comparison: Comparison, verdict: BudgetVerdict, runs: Runs) -> FigureData:
    """Score against what models took to train until their best checkpoints, and what an image takes to draw."""
    models = priced_models(comparison, verdict) if len(comparison.entries) > 1 else []
    models = [model for model in models if model.entry.rank <= MAX_DRAWN_TRIALS]
    training = [(model, model.training, model.unit) for model in models if model.training]
    sampling = [(model, model.sampling, sampling_unit(model.unit)) for model in models if model.sampling]
    heights, panels = [model.entry.score.value for model in models], list[Panel]()
    levels, colours = anchor_levels(comparison, heights), series_numbers(comparison)
    for what, of, priced in (("training", "", training), ("sampling", " an image", sampling)):
        if priced:
            scale = _Scale.of(priced[0][2], what, [paid for _, paid, _ in priced])
            notes = [_priced_note(comparison, model, runs) for model, _, _ in priced]
            dots = [
                Dot(
                    colours[model.entry.trial.run_id],
                    paid / scale.per,
                    model.entry.score.value,
                    note,
                    hollow=model.entry.trial.status == "pruned",
                    ringed=model.entry is verdict.winner,
                    faint=not model.on_front,
                )
                for (model, paid, _), note in zip(priced, notes, strict=True)
            ]
            title = f"{scale.title}{of}"
            axes = Axis(title), Axis(comparison.title)
            panels.append(Panel(*axes, title, dots=dots, levels=levels, alike=heights))
    caption = (
        "Training counts until the best checkpoint. Strong: on the Pareto front, so that no other trial is at least as "
        "good in score, training, sampling, parameters and memory all at once. Hollow: stopped early. The ring is the "
        "verdict's."
    )
    return FigureData(f"{comparison.title} against cost", caption, panels)


def front_plan(comparison: Comparison, verdict: BudgetVerdict, runs: Runs) -> FigureData:
    """The score against each further objective of a sweep; of two objectives, with the front as a line."""
    rows = [row for row in objective_rows(comparison) if row.entry.rank <= MAX_DRAWN_TRIALS]
    heights, colours, panels = [row.entry.score.value for row in rows], series_numbers(comparison), list[Panel]()
    for number, (metric, _, _) in enumerate(rows[0].objectives[1:] if rows else (), 1):
        dots, front = list[Dot](), list[tuple[float, float]]()
        for row in rows:
            trial, (_, mode, x) = row.entry.trial, row.objectives[number]
            said = trial_note(comparison, row.entry, runs)
            note = Note((*said.lines, f"{metric} {named_amount(metric, x)}"), said.link)
            won = row.entry is verdict.winner
            dots.append(Dot(colours[trial.run_id], x, row.entry.score.value, note, ringed=won, faint=not row.on_front))
            front += [(x, row.entry.score.value)] if row.on_front and len(row.objectives) == 2 else []
        lines = [Line(dots[0].colour, sorted(front), faint=True, step=mode == "min")] if len(front) > 1 else []
        axes = Axis(metric), Axis(comparison.title)
        panels.append(Panel(*axes, metric, lines, dots, levels=anchor_levels(comparison, heights), alike=heights))
    caption = (
        "Strong: on the front of the objectives, so that no other trial is at least as good in all of them at once."
    )
    return FigureData("The objectives", caption, panels)


def _priced_note(comparison: Comparison, model: ParetoRow, runs: Runs) -> Note:
    note = trial_note(comparison, model.entry, runs)
    price = amount_words(model.sampling, sampling_unit(model.unit))
    return Note((*note.lines, *([f"{price} an image"] if model.sampling else [])), note.link)
