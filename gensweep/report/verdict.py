"""The verdict in sentences: what to take at which budget, how sure that is, where it flips, and other doubts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gensweep.families.spelling import family_name
from gensweep.report.wording import amount_range, amount_words, chance_words, further_words, rough, score

if TYPE_CHECKING:
    from gensweep.compute.flips import Flip
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison


def verdict_words(comparison: Comparison, verdict: BudgetVerdict) -> str:
    """The sentences of the verdict in one line."""
    return " ".join(verdict_sentences(comparison, verdict))


def verdict_sentences(comparison: Comparison, verdict: BudgetVerdict) -> list[str]:
    """Who wins, at which budget, how sure that is and on how many seeds; where it flips; what the scores hide."""
    sentences = [
        _winner(comparison, verdict),
        *(_flip(comparison, verdict, flip) for flip in verdict.flips),
        *_expected(comparison, verdict),
        # What is known of the best checkpoint of the whole training, which may have been longer.
        *(_of_best(comparison, verdict) if verdict.pays_for_best else ()),
    ]
    return [f"{each}." for each in sentences]


def group_words(comparison: Comparison, verdict: BudgetVerdict, group: str) -> str:
    """A group as one would write it in a sentence: its family, if no other group has the same."""
    families: dict[str, set[str]] = {}
    for curve in verdict.trained.curves if verdict.trained is not None else ():
        assert verdict.trained is not None
        families.setdefault(curve.group, set()).add(verdict.trained.entries[curve.trial].trial.family)
    kinds = [frozenset(found) for found in families.values()]
    mine = frozenset(families[group])
    return family_name(next(iter(mine))) if len(mine) == 1 and kinds.count(mine) == 1 else comparison.group_name(group)


def _winner(comparison: Comparison, verdict: BudgetVerdict) -> str:
    name, at = comparison.name_of(verdict.winner.trial), "" if verdict.budget is None else f"at {_budget(verdict)} "
    found = f"{comparison.title} {score(verdict.score)}{_seeds(verdict)}"
    if verdict.probability is None:
        sure = "" if len(comparison.entries) < 2 else "; how sure that is, is not known"
        sentence = f"{at}the best is {name}, {found}{sure}"
    else:
        who, model = (name, found) if verdict.group is None else (group_words(comparison, verdict, verdict.group), None)
        chance = f"with a probability of {chance_words(verdict.probability)}: {model or f'{name}, {found}'}"
        lead = f"too close to call {at}: {who} leads" if verdict.too_close else f"{at}take {who}, the best"
        sentence = f"{lead.replace(' :', ':')} {chance}"
    return sentence[:1].upper() + sentence[1:]


def _seeds(verdict: BudgetVerdict) -> str:
    """On how many seeds the winner's score is, and what another one may give."""
    if verdict.winner.trial.imported:
        return ""
    if verdict.seeds == 1:
        return ", on one seed"
    interval = verdict.interval
    words = "" if interval is None else f" (95 %: {rough(interval[0])} to {rough(interval[1])})"
    return f" on average of {verdict.seeds} seeds{words}"


def _budget(verdict: BudgetVerdict) -> str:
    assert verdict.budget is not None
    words = amount_words(verdict.budget.value, verdict.budget.unit)
    return f"{words} of training" if not verdict.draw else f"{words} for training and {verdict.draw:,} images"


def _flip(comparison: Comparison, verdict: BudgetVerdict, flip: Flip) -> str:
    assert verdict.trained is not None
    unit, what = verdict.trained.unit, "" if verdict.draw else " of training"
    below, above = group_words(comparison, verdict, flip.below), group_words(comparison, verdict, flip.above)
    interval = amount_range(flip.low, flip.high, unit)
    return f"Below {amount_words(flip.value, unit)}{what} take {below}, above it {above} (95 %: {interval})"


def _expected(comparison: Comparison, verdict: BudgetVerdict) -> Iterator[str]:
    """What so many tries of each group are expected to reach."""
    if verdict.group is None or verdict.budget is None:
        return
    parts = []
    for curve in verdict.curves:
        for point in curve.points:
            if point.budget == verdict.budget.value:
                ends = [rough(end) for end in (point.low, point.high) if end is not None]
                band = f" ({' to '.join(ends)})" if ends else ""
                parts.append(f"{group_words(comparison, verdict, curve.group)} {rough(point.best)}{band}")
    tries = "one configuration" if verdict.tries == 1 else f"the best of {verdict.tries} configurations, each"
    yield f"Expected of {tries} trained for that: {', '.join(parts)}"


def _of_best(comparison: Comparison, verdict: BudgetVerdict) -> Iterator[str]:
    yield from _cost(verdict)
    yield from _settings(comparison, verdict)
    yield from _fresh_seeds(verdict)


def _cost(verdict: BudgetVerdict) -> Iterator[str]:
    """What the winner took until its best checkpoint, if that was not the end."""
    if verdict.trained is not None and verdict.winner.trial.run_id in verdict.trained.costs:
        best, whole = verdict.trained.costs[verdict.winner.trial.run_id]
        if best < whole:
            took, of = (amount_words(each, verdict.trained.unit) for each in (best, whole))
            yield f"Its best checkpoint took {took} of the {of} of its training"


def _settings(comparison: Comparison, verdict: BudgetVerdict) -> Iterator[str]:
    """Trials whose scores cannot be told from that of the best trial."""
    if comparison.ties and verdict.winner is comparison.winner:
        tie = min(comparison.ties, key=lambda each: each.interval[0])
        low, high = (rough(value) for value in tie.interval)
        others = "" if len(comparison.ties) == 1 else f" and {len(comparison.ties) - 1} more"
        pairs = ", image by image" if tie.paired else ""
        who = f"{comparison.name_of(tie.trial)}{others}"
        yield f"By its score {who} may be as good (behind by {low} to {high} at 95 %{pairs})"


def _fresh_seeds(verdict: BudgetVerdict) -> Iterator[str]:
    winner = verdict.winner
    if (again := winner.trial.rescored) is not None:
        excess = rough(abs(again.value - winner.score.value))
        worse = "worse" if again.order > winner.score.order else "better"
        yield f"Scored again on fresh seeds: {score(again.value)}, {excess} {worse}"
    if further := winner.trial.further_scores:
        yield f"Further on fresh seeds: {'; '.join(map(further_words, further))}"
