"""The verdict in sentences: the recommended model, its budget and probability, flips, and caveats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gensweep.config.problems import listed
from gensweep.report import wording
from gensweep.results import family_name

if TYPE_CHECKING:
    from gensweep.verdict.comparison import Comparison
    from gensweep.verdict.frontier import Flip
    from gensweep.verdict.recommendation import Recommendation
    from gensweep.verdict.rungs import Rung


def format_verdict(comparison: Comparison, verdict: Recommendation) -> str:
    """The sentences of the verdict on one line."""
    return " ".join(format_sentences(comparison, verdict))


def format_sentences(comparison: Comparison, verdict: Recommendation) -> list[str]:
    """The winner, its budget, probability and seeds; then flips, costs and ties."""
    # The cost of the best checkpoint, whose training may have run longer.
    of_best = [*_cost(verdict), *_ties(comparison, verdict), *_fresh_seeds(verdict)]
    sentences = [
        _recommended(comparison, verdict),
        *filter(None, [format_second_look(verdict), format_best_score(comparison, verdict)]),
        *(_flip(comparison, verdict, flip) for flip in verdict.flips),
        *_expected(comparison, verdict),
        *(of_best if verdict.pays_for(verdict.recommended) else ()),
        *_money(comparison, verdict),
    ]
    return [f"{each}." for each in sentences]


def format_group(comparison: Comparison, verdict: Recommendation, group: str) -> str:
    """Name of a group in a sentence: its family, if no other group has the same one."""
    assert verdict.trained is not None
    families: dict[str, set[str]] = {}
    for curve in verdict.trained.curves:
        families.setdefault(curve.group, set()).add(verdict.trained.entries[curve.trial].trial.family)
    mine = families[group]
    alone = len(mine) == 1 and list(families.values()).count(mine) == 1
    return family_name(next(iter(mine))) if alone else comparison.group_name(group)


def _recommended(comparison: Comparison, verdict: Recommendation) -> str:
    name, at = verdict.recommended.trial.name, ""
    found = f"{comparison.title} {wording.score(verdict.score)}{_seeds(verdict)}"
    if verdict.budget is not None:
        more = f"for training and {verdict.draw:,} images" if verdict.draw else "of training"
        at = f"with {wording.format_amount(verdict.budget.value, verdict.budget.unit)} {more}"
    if verdict.probability is None:
        sure = "" if len(comparison.entries) < 2 else "; its probability of being the best is unknown"
        sentence = f"{at}, the best is {name}, {found}{sure}"
    else:
        who = name if verdict.group is None else format_group(comparison, verdict, verdict.group)
        model = found if verdict.group is None else f"{name}, {found}"
        sure = f"(probability {wording.format_probability(verdict.probability)})"
        contested = verdict.second_look.outcome == "contested"
        if verdict.too_close or contested:
            words = "too close to call" if verdict.too_close else "contested by other measures"
            sentence = f"{words} {at}".strip() + f": {who} leads {sure} with {model}"
        else:
            sentence = f"{at}, choose {who} {sure}: {model}"
    sentence = sentence.removeprefix(", ")
    return sentence[:1].upper() + sentence[1:]


def format_second_look(verdict: Recommendation) -> str | None:
    """A line about the votes of the panel; None without scores of both models."""
    look, winner, other = verdict.second_look, verdict.recommended.trial.name, verdict.runner_up
    if not look.kinds or other is None:
        return None
    share = f"{len(look.agreeing)} of {wording.counted(len(look.kinds), 'other kind')} of measures"
    if look.outcome == "contested":
        return f"Measures that prefer {other.trial.name}: {listed(look.contesting)}; {share} agree"
    told = f"{share} tell {winner} from {other.trial.name}" if look.outcome == "unchecked" else f"{share} agree"
    word = "Not confirmed" if look.outcome == "unchecked" else "Confirmed"
    return f"{word}: {told}, and none prefers {other.trial.name}"


def format_best_score(comparison: Comparison, verdict: Recommendation) -> str | None:
    """A line with the best score and the recommended trial; None if both are the same trial."""
    if verdict.reason is None:
        return None
    first = verdict.best_score
    group = "" if verdict.trained is None else verdict.trained.groups.get(first.trial.name, "")
    group = group and format_group(comparison, verdict, group)
    reason = {
        "alone": f"{group} has no other configuration to compare",
        "group": f"{group} is expected to do worse",
        "budget": "the best score needed more training",
        "seeds": "its mean over seeds is better",
        "cost": "the cost of the best score is not recorded",
    }[verdict.reason]
    scored = f"{first.trial.name} ({comparison.title} {wording.score(first.score.value)})"
    return f"Best score: {scored}; recommended: {verdict.recommended.trial.name}, as {reason}"


def _seeds(verdict: Recommendation) -> str:
    """Number of seeds behind the recommended trial's score, and its interval."""
    if verdict.recommended.trial.imported:
        return ""
    if verdict.seeds == 1:
        return ", on one seed"
    words = "" if verdict.interval is None else " (95 %: {} to {})".format(*map(wording.rough, verdict.interval))
    return f", mean of {verdict.seeds} seeds{words}"


def _flip(comparison: Comparison, verdict: Recommendation, flip: Flip) -> str:
    assert verdict.trained is not None
    unit, what = verdict.trained.unit, "" if verdict.draw else " of training"
    below, above = format_group(comparison, verdict, flip.below), format_group(comparison, verdict, flip.above)
    at, low, high = (wording.format_amount(each, unit) for each in (flip.value, flip.low, flip.high))
    return f"Below {at}{what}, choose {below}; above it, {above} (95 %: {low} to {high})"


def _expected(comparison: Comparison, verdict: Recommendation) -> Iterator[str]:
    """The expected best of each group."""
    if verdict.group is None or verdict.budget is None:
        return
    parts = []
    for curve in verdict.curves:
        for point in curve.points:
            if point.budget == verdict.budget.value:
                ends = [wording.rough(end) for end in (point.low, point.high) if end is not None]
                band = f" ({' to '.join(ends)})" if ends else ""
                parts.append(f"{format_group(comparison, verdict, curve.group)} {wording.rough(point.best)}{band}")
    tries = "one configuration" if verdict.tries == 1 else f"the best of {verdict.tries} configurations"
    yield f"Expected score of {tries} at this budget: {', '.join(parts)}"


def _cost(verdict: Recommendation) -> Iterator[str]:
    """Cost of the recommended trial until its best checkpoint, unless that was the end."""
    if verdict.trained is not None and verdict.recommended.trial.name in verdict.trained.costs:
        best, whole = verdict.trained.costs[verdict.recommended.trial.name]
        if best < whole:
            took, of = (wording.format_amount(each, verdict.trained.unit) for each in (best, whole))
            yield f"Its best checkpoint took {took} of the {of} of its training"


def money(comparison: Comparison, verdict: Recommendation) -> dict[str, Any] | None:
    """Price of the recommended trial and of all trials, with their scores; None without a price or device time."""
    used = {trial.name: trial.cost.all_device_seconds for sweep in comparison.sweeps for trial in sweep.trials}
    price, mine = verdict.price, used.get(verdict.recommended.trial.name)
    if price is None or not mine:
        return None
    return {"recommended": price.of(mine), "all": price.of(sum(used.values())), "currency": price.currency}


def _money(comparison: Comparison, verdict: Recommendation) -> Iterator[str]:
    found, price, name = money(comparison, verdict), verdict.price, verdict.recommended.trial.name
    if price is not None and found is not None:
        one, everything = price.format_money(found["recommended"]), price.format_money(found["all"])
        number = sum(len(sweep.trials) for sweep in comparison.sweeps)
        yield f"At {price} for each device, {name} cost {one} and all {number} trials {everything}"
    elif price is not None:
        yield f"The price of {name} is unknown, as its device time was not recorded"


def _ties(comparison: Comparison, verdict: Recommendation) -> Iterator[str]:
    """Trials whose scores are too close to the best one."""
    if comparison.ties and verdict.recommended is comparison.best_score:
        tie = min(comparison.ties, key=lambda each: each.interval[0])
        low, high = (wording.rough(value) for value in tie.interval)
        others = "" if len(comparison.ties) == 1 else f" and {len(comparison.ties) - 1} more"
        pairs = ", image by image" if tie.paired else ""
        yield f"By its score {tie.trial.name}{others} may be as good (behind by {low} to {high} at 95 %{pairs})"


def _fresh_seeds(verdict: Recommendation) -> Iterator[str]:
    entry = verdict.recommended
    if (again := entry.trial.rescored) is not None:
        yield f"Scored again on fresh seeds: {wording.format_rescored(again, entry.score)}"
    if further := entry.trial.further_scores:
        yield f"Further on fresh seeds: {'; '.join(map(wording.format_further, further))}"


def format_rung(rung: Rung) -> str:
    """Position of a rung: "25 % of the training", "15k images"."""
    return (
        f"{100 * rung.share:.3g} % of the training" if rung.images is None else f"{wording.count(rung.images)} images"
    )
