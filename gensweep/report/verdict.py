"""The verdict of a comparison in a sentence, and the doubts that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gensweep.report.collapse import warnings_of
from gensweep.report.wording import family_name, rough, score

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.results import Score


def verdict(comparison: Comparison) -> str:
    """One sentence: who won, against whom, by how much, at which cost; and others if there is a doubt."""
    best, entries = comparison.winner, comparison.entries
    families = _first_of_each("family", entries)
    rivals = families if len(families) > 1 else _first_of_each("sweep", entries)
    if len(rivals) < 2:
        rivals = list(entries[:2])
    name = family_name(best.trial.family)
    sentence = f"{name[:1].upper()}{name[1:]} wins" if len(families) > 1 else f"{best.trial.name} is best"
    sentence += f": {comparison.title} {score(best.score.value)}"
    if len(rivals) > 1:
        other = rivals[1]
        whose = f"the best {family_name(other.trial.family)}'s" if len(families) > 1 else f"{other.trial.name}'s"
        sentence += f", {_margin(best.score, other.score)} {whose} {score(other.score.value)}{_price(best, other)}"
    doubts = warnings_of(best.trial.signals)
    sentences = [sentence, *_close_call(comparison, rivals), *([f"Warning: {'; '.join(doubts)}"] if doubts else [])]
    return " ".join(f"{each}." for each in sentences)


def _first_of_each(attribute: str, entries: Sequence[RankedTrial]) -> list[RankedTrial]:
    """The best trial of each family or sweep, best first."""
    first: dict[str, RankedTrial] = {}
    for each in entries:
        first.setdefault(getattr(each.trial, attribute), each)
    return list(first.values())


def _close_call(comparison: Comparison, rivals: Sequence[RankedTrial]) -> list[str]:
    """A sentence if the best cannot be told from others, and one of its score on fresh seeds."""
    said, best = [], comparison.winner
    if comparison.ties:
        close = {tie.trial.run_id: tie for tie in comparison.ties}
        nearest = [close[each.trial.run_id] for each in rivals[1:] if each.trial.run_id in close]
        tie = (nearest or comparison.ties)[0]
        low, high = (rough(value) for value in tie.interval)
        others = "" if len(close) == 1 else f" and {len(close) - 1} more"
        pairs = ", image by image" if tie.paired else ""
        said.append(
            f"Too close to call: {tie.trial.name}{others} may be as good (behind by {low} to {high} at 95 %{pairs})"
        )
    if (again := best.trial.rescored) is not None:
        excess = rough(abs(again.value - best.score.value))
        worse = "worse" if again.order > best.score.order else "better"
        said.append(f"Scored again on fresh seeds: {score(again.value)}, {excess} {worse}")
    return said


def _margin(best: Score, other: Score) -> str:
    side, distance = "below" if best.value < other.value else "above", abs(best.value - other.value)
    if best.value == other.value:
        return "level with"
    if other.value == 0:
        return f"{score(distance)} {side}"
    percent = 100 * distance / abs(other.value)
    return f"{percent:.1f} % {side}" if percent < 10 else f"{percent:.0f} % {side}"


def _price(best: RankedTrial, other: RankedTrial) -> str:
    ours, theirs = best.trial.cost.train_seconds, other.trial.cost.train_seconds
    if not ours or not theirs:
        return ""
    ratio = ours / theirs
    if 0.95 < ratio < 1.05:
        return ", at the same training time"
    if ratio > 1:
        return f", at {ratio:.2g} times its training time"
    return f", in {100 * ratio:.0f} % of its training time"
