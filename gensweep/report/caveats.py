"""Caveats: why a score or a recommendation is less certain than it looks, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from gensweep.config.problems import listed
from gensweep.report.wording import format_amount, format_weights
from gensweep.sweep.continuation import continue_command
from gensweep.verdict.expected_best import MIN_CONFIGURATIONS
from gensweep.verdict.frontier import MIN_KNOWN, group_curves, reach

if TYPE_CHECKING:
    from gensweep.sweep.trial_state import TrialState
    from gensweep.verdict.comparison import Comparison
    from gensweep.verdict.recommendation import Recommendation

#: Ratio of two groups' training costs from which a larger budget could have been compared.
MUCH_LONGER = 2.0
#: Samples have collapsed if their diversity is below this share of the diversity of real images.
MIN_DIVERSITY = 0.2
#: A discriminator with at least this accuracy on real and on generated images has nothing to teach the generator.
MAX_ACCURACY = 0.99
#: A posterior has collapsed if at least this share of its latent units say less than 0.01 nats about an image.
MAX_COLLAPSED_UNITS = 0.5
#: A model has memorised if more than this share of its samples look like copies.  Of unseen real images 0.21 did with
#: 20 training images, each far from the others, and 0.01 with 5,000.
MAX_COPIED_SHARE = 1 / 3


def caveats(comparison: Comparison, verdict: Recommendation) -> Iterator[str]:
    """One line per caveat, the most important first."""
    trial = verdict.recommended.trial
    name = trial.name
    yield from (f"{name} {warning}" for warning in trial_warnings(trial))
    if verdict.no_budget is not None:
        yield verdict.no_budget
    if verdict.seeds == 1 and not trial.imported:
        again = ""
        if trial.folder is not None:
            again = f"; to see the spread: {continue_command('repeat', trial.folder.path)} --top 3 --seeds 2"
        yield f"{name} was trained with one seed; other seeds may score differently{again}"
    yield from _initial_weights(comparison)
    yield from _few_or_unknown(comparison, verdict)
    if not verdict.second_look.differences and verdict.runner_up is not None:
        names = " ".join(sweep.name for sweep in comparison.sweeps)
        yield f"unchecked by other measures; to check it: gensweep best --compare {names} --panel"
    for item in comparison.not_comparable:
        if item.sweep in comparison.sweeps and item.reason == "unlike":
            yield (
                f"{len(item.trials)} of {item.scored} trials of {item.sweep.name} have only scores of another kind, "
                "so they are left out and the sweep looks better than it is"
            )


def _initial_weights(comparison: Comparison) -> Iterator[str]:
    """By base, the trials that started from weights, and whether their own cost is counted."""
    found: dict[str, list[str]] = {}
    for trial in (entry.trial for entry in comparison.entries):
        if (base := trial.initial_weights) is not None:
            found.setdefault(format_weights(base), []).append(trial.name)
    for weights, names in found.items():
        yield f"{listed(names, most=3)} started from {weights}"


def _few_or_unknown(comparison: Comparison, verdict: Recommendation) -> Iterator[str]:
    if verdict.budget is None or verdict.trained is None:
        return
    name = comparison.group_name
    drawn = {curve.group for curve in verdict.curves}
    if alone := sorted({curve.group for curve in verdict.trained.curves} - drawn):
        yield f"left out of the curves, with one configuration where two are needed: {', '.join(map(name, alone))}"
    if unpaid := [name(curve.group) for curve in verdict.curves if not curve.configurations]:
        yield f"the budget does not pay for a training and {verdict.draw:,} images of {', '.join(unpaid)}"
    if few := [curve for curve in verdict.curves if 0 < curve.configurations < MIN_CONFIGURATIONS]:
        counts = ", ".join(f"{name(curve.group)} {curve.configurations}" for curve in few)
        yield f"no confidence band: fewer than {MIN_CONFIGURATIONS} configurations per group ({counts})"
    if stopped := [curve for curve in verdict.curves if curve.stopped]:
        counts = ", ".join(f"{each.stopped} of {each.trainings} of {name(each.group)}" for each in stopped)
        yield f"trials stopped before the budget are extrapolated from finished ones: {counts}"
    if verdict.group is not None and (unsure := [curve for curve in verdict.curves if curve.too_few_known]):
        counts = ", ".join(f"{name(each.group)} {each.known}" for each in unsure)
        yield (
            f"nothing is certain with fewer than {MIN_KNOWN} trainings per group that reached the budget ({counts}); "
            "add trials, or choose a search.scheduler that stops fewer of them"
        )
    if failed := [curve for curve in verdict.curves if curve.failed]:
        counts = ", ".join(f"{each.failed} of {each.trainings} trainings of {name(each.group)}" for each in failed)
        yield f"{counts} failed and count as no score"
    judged = {curve.group for curve in verdict.trained.curves}
    lost = Counter(curve.group for curve in verdict.trained.failed if curve.group not in judged)
    for group, number in lost.items():
        trainings = "the only training" if number == 1 else f"all {number} trainings"
        yield f"{trainings} of {name(group)} failed, so it has no result"
    for flip in verdict.unsure:
        where = format_amount(flip.value, verdict.trained.unit)
        yield f"the curves of {name(flip.below)} and {name(flip.above)} cross near {where}, but that may be chance"
    ends = {each: reach(found)[1] for each, found in group_curves(verdict.trained.curves).items() if each in drawn}
    if ends and verdict.budget.value >= min(ends.values()) + max(verdict.overheads.values(), default=0.0):
        short, far = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
        if ends[far] >= MUCH_LONGER * ends[short]:
            last, longest = (format_amount(ends[each], verdict.trained.unit) for each in (short, far))
            more = f"so nothing larger is compared, though {name(far)} was trained for {longest}"
            yield f"{name(short)} ended at {last}, {more}"
    if verdict.trained.uncounted:
        names = ", ".join(verdict.trained.uncounted[:3]) + (", ..." if len(verdict.trained.uncounted) > 3 else "")
        yield f"{len(verdict.trained.uncounted)} trials have no recorded cost in {verdict.trained.unit} ({names})"


def warnings_of(signals: Mapping[str, float]) -> list[str]:
    """Warnings about a trial's signals, one per line."""
    found = []
    diversity = signals.get("diversity")
    if diversity is not None and diversity < MIN_DIVERSITY:
        found.append(f"collapsed: samples are {_percent(diversity)} as diverse as real images")
    copied = signals.get("authpct/memorised", 0.0)
    if copied > MAX_COPIED_SHARE:
        found.append(f"memorised: {_percent(copied)} of samples look like copies of training images")
    right = [signals.get(f"signal/accuracy_{kind}") for kind in ("real", "fake")]
    if all(share is not None and share >= MAX_ACCURACY for share in right):
        real, fake = (_percent(share or 0.0) for share in right)
        found.append(f"the discriminator wins: right on {real} of real and {fake} of generated images")
    silent = signals.get("signal/collapsed_units", 0.0)
    if silent >= MAX_COLLAPSED_UNITS:
        found.append(f"posterior collapse: {_percent(silent)} of the latent units carry no information")
    return found


def trial_warnings(trial: TrialState) -> list[str]:
    """Warnings about a trial, one per line: its limits, score, course, and the signals of its best evaluation."""
    score = trial.score
    found = [] if score is None else [f"breaks a limit: {words}" for words in trial.broken_limits]
    if score is not None and score.ceiling is not None and score.like_noise:
        found.append(f"no better than outputting {score.ceiling.source}")
    if trial.never_improved:
        found.append("best at its first evaluation")
    return found + warnings_of(trial.signals)


def format_diversity(signals: Mapping[str, float]) -> str:
    """Diversity for a table cell, marked if it has collapsed; "-" if unknown."""
    diversity = signals.get("diversity")
    if diversity is None:
        return "-"
    return _percent(diversity) + (", collapsed" if diversity < MIN_DIVERSITY else "")


def _percent(share: float) -> str:
    return f"{round(100 * share, 1 if share < 0.0995 else 0):g} %"
