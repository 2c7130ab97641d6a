"""What the figure of the settings shows: their shares of the variance, or the trials by each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gensweep.report.importance import (
    MIN_FINISHED,
    SettingScores,
    VarianceShares,
    importance,
    importance_words,
    settings_and_scores,
)
from gensweep.report.plots import Axis, Bar, Bars, Dot, FigureData, Panel
from gensweep.report.trial_notes import MAX_DRAWN_TRIALS, Runs, series_numbers, trial_note
from gensweep.report.wording import setting_words, short_names

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison
    from gensweep.report.variance import ShareInterval

#: Bars of a panel of shares, or panels of single settings, at most.
MAX_SHOWN = 8
#: The share of the variance that no setting explains.
REST = "interactions and noise"


def settings_plan(comparison: Comparison, runs: Runs) -> FigureData:
    """What mattered; where that cannot be told, the score of each trial by the value of each of its settings."""
    if (found := importance(comparison)) is not None:
        return FigureData("What mattered", importance_words(found, comparison.title), _shares(found, comparison))
    listed = settings_and_scores(comparison)[:MAX_SHOWN]
    short = short_names(each.setting for each in listed)
    panels = [_panel(each, short[each.setting], comparison, runs) for each in listed]
    caption = (
        f"{comparison.title} of each trial by its settings. {MIN_FINISHED} finished trials with different scores are "
        "needed to say which settings matter."
    )
    return FigureData("Scores by setting", caption, panels)


def _shares(found: VarianceShares, comparison: Comparison) -> list[Bars]:
    """The families first, if there are several; then the settings of each, all of them as shares of one whole."""
    short, rest = short_names(each.setting for each in found.settings), _bar(REST, found.rest)
    colours: dict[str, int] = {}
    for colour, group in enumerate(comparison.groups.values()):
        colours.setdefault(group[0].trial.family, colour)
    bars = {
        family: [_bar(short[each.setting], each.estimate) for each in found.settings if each.family == family]
        for family in colours
    }
    if found.family is None:
        return [Bars(0, [*_few([bar for inside in bars.values() for bar in inside]), rest])]
    sums = [Bar(f"settings of {family}", sum(bar.share for bar in inside)) for family, inside in bars.items() if inside]
    panels = [Bars(0, [_bar("family", found.family), *sums, rest], "all trials")]
    return panels + [
        Bars(colours[family], _few(inside), f"settings of {family}") for family, inside in bars.items() if inside
    ]


def _bar(name: str, estimate: ShareInterval) -> Bar:
    return Bar(name, estimate.share, (estimate.low, estimate.high))


def _few(bars: Sequence[Bar]) -> list[Bar]:
    """Not more bars than can be read; the last is the sum of those that are left out, which are the smallest."""
    if len(bars) <= MAX_SHOWN:
        return list(bars)
    return [*bars[: MAX_SHOWN - 1], Bar("others", sum(bar.share for bar in bars[MAX_SHOWN - 1 :]))]


def _panel(found: SettingScores, name: str, comparison: Comparison, runs: Runs) -> Panel:
    trials = [trial for group in found.groups.values() for trial in group]
    series, title = series_numbers(comparison), comparison.title
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value, _ in trials)
    names = () if numbers else tuple(sorted({_word(value) for value, _ in trials}))
    dots = [
        Dot(
            series[entry.trial.run_id],
            value if numbers else names.index(_word(value)),
            entry.score.value,
            trial_note(comparison, entry, runs),
            hollow=entry.trial.status == "pruned",
            ringed=entry.rank == 1,
            faint=entry.rank > 1,
        )
        for value, entry in trials
        if entry.rank <= MAX_DRAWN_TRIALS
    ]
    return Panel(
        Axis(name, names=names), Axis(title), dots=dots, alike=[each.score.value for each in comparison.entries]
    )


def _word(value: Any) -> str:
    """A setting's value as text, as other places of the report have it."""
    return setting_words({"x": value}, ["x"]).removeprefix("x=")
