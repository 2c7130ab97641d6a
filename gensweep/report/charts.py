"""Figures of a report: score at each budget, score against cost, and importance of settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gensweep.report.figures import Crossing, Dot, Figure, Level, Line, Panel
from gensweep.report.verdict import format_group
from gensweep.report.wording import counted, format_amount, format_named, format_settings, rough, score, short_names
from gensweep.results import Unit, family_name, order_of
from gensweep.verdict.importance import Importance, ShareInterval
from gensweep.verdict.pareto import objective_rows, priced_models, sampling_unit

if TYPE_CHECKING:
    from gensweep.verdict.comparison import Comparison, RankedTrial
    from gensweep.verdict.recommendation import Recommendation

#: The best trials that figures show: keeps the page below 5 MB.
MAX_DRAWN_TRIALS = 300
#: Seconds per unit of time on an axis; the axis uses the largest that is at most half of the largest value.
_TIMES = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


def budget_figure(comparison: Comparison, verdict: Recommendation) -> Figure | None:
    """Curves of groups with bands, single trainings behind them, and flips; None if no training is on record."""
    trained = verdict.trained
    if trained is None:
        return None
    extra = verdict.overheads
    longest = max(curve.spent + extra.get(curve.group, 0.0) for curve in trained.curves)
    title, per = _axis(trained.unit, "training and drawing" if verdict.draw else "training", longest)
    lines, dots, drawn = list[Line](), list[Dot](), {curve.group for curve in verdict.curves}
    for curve in trained.curves:
        entry, paid = trained.entries[curve.trial], extra.get(curve.group, 0.0)
        if entry.rank <= MAX_DRAWN_TRIALS:
            points = [((each.spent + paid) / per, order_of(each.order, comparison.score.mode)) for each in curve.points]
            # The best training stands for a group that has no curve.
            series, faint = series_of(comparison, entry), curve.group in drawn
            lines.append(Line(series, points, _note(comparison, entry), faint))
            drawn.add(curve.group)
            dots.append(_dot(comparison, verdict, entry, *points[-1], faint=entry is not verdict.recommended))
    for group in verdict.curves:
        points = [(point.budget / per, point.best) for point in group.points]
        known = [(each.budget / per, each.low, each.high) for each in group.points]
        band = [(at, low, high) for at, low, high in known if low is not None and high is not None]
        lines.append(Line(list(comparison.groups).index(group.group), points, band=band))
    tries = "one configuration" if verdict.tries == 1 else f"the best of {verdict.tries} configurations"
    strong = f"Strong: what {tries} is expected to reach, with its 95 % band. " if verdict.curves else ""
    caption = (
        f"{strong}Faint: trainings; hollow ends were stopped early. Dashed: where the verdict flips, with its 95 % "
        f"interval. Dotted: its budget. {comparison.direction} is better."
    )
    crossings = list(_crossings(comparison, verdict, trained.unit, per))
    panel = Panel(title, comparison.title, lines, dots, _levels(comparison), crossings)
    return Figure("Score against budget", caption, [panel])


def draw_charts(comparison: Comparison, verdict: Recommendation) -> list[Figure]:
    """All other figures that the ranked trials have data for."""
    return [figure for figure in (_objectives(comparison, verdict), _costs(comparison, verdict)) if figure.panels]


def _costs(comparison: Comparison, verdict: Recommendation) -> Figure:
    """Score against the cost of training until the best evaluation, and against the cost of drawing an image."""
    models = priced_models(comparison, verdict) if len(comparison.entries) > 1 else []
    training = [(row.entry, row.training, row.on_front) for row in models if row.training]
    sampling = [(row.entry, row.sampling, row.on_front) for row in models if row.sampling]
    unit, panels = models[0].unit if models else "images", list[Panel]()
    drawing = sampling_unit(unit)
    for kind, what, of, priced in ((unit, "training", "", training), (drawing, "sampling", " an image", sampling)):
        title, per = _axis(kind, what, max((paid for _, paid, _ in priced), default=0.0))
        places = [(entry, paid / per, format_amount(paid, kind) + of, front) for entry, paid, front in priced]
        panels += _scatter(comparison, verdict, f"{title}{of}", places)
    caption = (
        "Training counts until the best evaluation. Strong: on the Pareto front: no other trial is at least as "
        "good in score, training, sampling, parameters and memory. Hollow: stopped early. The ring is the "
        "verdict's."
    )
    return Figure(f"{comparison.title} against cost", caption, panels)


def _objectives(comparison: Comparison, verdict: Recommendation) -> Figure:
    """The score against each further objective of a sweep."""
    rows, panels = objective_rows(comparison), list[Panel]()
    for metric in [each.metric for each in rows[0][0].trial.objectives[1:]] if rows else ():
        values = [(entry, entry.trial.objective_values[metric], front) for entry, front in rows]
        places = [(entry, x, f"{metric} {format_named(metric, x)}", front) for entry, x, front in values]
        panels += _scatter(comparison, verdict, metric, places)
    caption = "Strong: on the Pareto front: no other trial is at least as good in all objectives."
    return Figure("The objectives", caption, panels)


def _scatter(
    comparison: Comparison, verdict: Recommendation, title: str, places: Iterable[tuple[RankedTrial, float, str, bool]]
) -> list[Panel]:
    """Points of trials: each with its position, a label for it, and True if it is highlighted."""
    dots = [
        _dot(comparison, verdict, entry, x, entry.score.value, words, faint=not strong)
        for entry, x, words, strong in places
        if entry.rank <= MAX_DRAWN_TRIALS
    ]
    return [Panel(title, comparison.title, dots=dots, levels=_levels(comparison))] if dots else []


def _dot(
    comparison: Comparison, verdict: Recommendation, entry: RankedTrial, x: float, y: float, *more: str, faint: bool
) -> Dot:
    note, stopped = (*_note(comparison, entry), *more), entry.trial.status == "pruned"
    return Dot(series_of(comparison, entry), x, y, note, stopped, entry is verdict.recommended, faint)


def _note(comparison: Comparison, entry: RankedTrial) -> tuple[str, ...]:
    """The tooltip of a trial."""
    trial, ending = entry.trial, "" if entry.trial.status == "finished" else f", {entry.trial.status}"
    settings = format_settings(trial.params, entry.differs)
    name = f"{trial.name} ({family_name(trial.family)}{ending})"
    return name, f"{comparison.title} {score(entry.score.value)}", *([settings] if settings else [])


def series_of(comparison: Comparison, entry: RankedTrial) -> int:
    """Number of a trial's group, which selects its colour and symbol."""
    return list(comparison.groups).index(comparison.group_of(entry.trial))


def _axis(unit: Unit, what: str, largest: float) -> tuple[str, float]:
    """Title of a compute axis, and the size of its unit."""
    if unit != "device_seconds":
        return f"{what} {'FLOPs' if unit == 'flops' else 'images'}", 1.0
    name = next((name for name, seconds in _TIMES.items() if largest >= 2 * seconds), "seconds")
    return f"{what} {name}", _TIMES[name]


def _levels(comparison: Comparison) -> list[Level]:
    """The score of real images."""
    floor = comparison.anchors.floor
    if floor is None:
        return []
    ends = "" if floor.interval is None else " ({} to {})".format(*map(rough, floor.interval))
    return [Level("real images", floor.value, (f"{floor.images:,} held-out real images", rough(floor.value) + ends))]


def _crossings(comparison: Comparison, verdict: Recommendation, unit: Unit, per: float) -> Iterator[Crossing]:
    """Flips, each with its interval and the best group on either side, and the budget of the verdict."""
    for flip in verdict.flips:
        if flip.low is not None and flip.high is not None:
            below, above = format_group(comparison, verdict, flip.below), format_group(comparison, verdict, flip.above)
            at, low, high = (format_amount(each, unit) for each in (flip.value, flip.low, flip.high))
            note = (f"below {at} {below}, above {above}", f"95 %: {low} to {high}")
            yield Crossing(
                f"{below} \u2190", f"\u2192 {above}", flip.value / per, (flip.low / per, flip.high / per), note
            )
    if verdict.budget is not None:
        place, words = verdict.budget.value / per, f"the verdict: {format_amount(verdict.budget.value, unit)}"
        yield Crossing("", "", place, (place, place), (words,), faint=True)


def importance_rows(found: Importance) -> Iterator[tuple[str, ShareInterval]]:
    """The shares of the family, of the settings within each, and of the rest, which are 1 together."""
    shares, short = found.shares, short_names(setting for _, setting in found.shares.within)
    if shares.between is not None:
        yield "family", shares.between
    for (family, setting), share in shares.within.items():
        yield ("" if shares.between is None else f"{family_name(family)}: ") + short[setting], share
    yield "interactions and noise", shares.rest


def format_importance(found: Importance, title: str) -> str:
    """The caption of an importance; `title` is the name of the scores."""
    trials = counted(found.finished + found.stopped, "trial")
    if found.stopped:
        trials += f" ({found.stopped} of them stopped early, with their last scores)"
    measure = f"the logarithm of {title}" if found.log else title
    return (
        f"Where the variance of {measure} among {trials} comes from, with 95 % intervals. Each share is that of one "
        "setting alone; the remainder is interactions and noise. "
        "If the interval reaches 0, the setting may not matter at all."
    )
