"""How trials are ranked, and how the identity of their scores is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gensweep.results import Identity

if TYPE_CHECKING:
    from gensweep.sweep.trial_state import TrialState


def ranked(*sweeps: Iterable[TrialState]) -> list[TrialState]:
    """All trials whose scores have the chosen identity, best first; a shorter training wins a tie.

    Each sweep chooses the identity with most finished trials, then most trials, then most images.  The identity
    chosen by the sweeps with most trained trials wins, then the one of most sweeps, then that of the first sweep.
    """
    listed, choices = [list(trials) for trials in sweeps], dict[Identity, list[tuple[bool, int]]]()
    for trials in listed:
        if groups := comparable(trials):
            finished = {each: sum(trial.status == "finished" for trial in group) for each, group in groups.items()}
            choice = max(groups, key=lambda each: (finished[each], len(groups[each]), each.samples))
            trained = sum(trial.score is not None and not trial.imported for trial in trials)
            choices.setdefault(choice, []).append((finished[choice] > 0, trained))

    def weight(identity: Identity) -> tuple[bool, int, int]:
        whole, trained = zip(*choices[identity], strict=True)
        return any(whole), sum(trained), len(trained)

    everyone = comparable(trial for trials in listed for trial in trials)
    return everyone[max(choices, key=weight)] if choices else []


def comparable(trials: Iterable[TrialState]) -> dict[Identity, list[TrialState]]:
    """Scored trials by identity, best first.  Trials that break a limit count only if all trials of an identity do."""
    groups = scored(trials)
    within = {identity: [each for each in group if not each.broken_limits] for identity, group in groups.items()}
    return {identity: within[identity] or group for identity, group in groups.items()}


def scored(trials: Iterable[TrialState]) -> dict[Identity, list[TrialState]]:
    """Scored trials by the identity of their scores, best first, without failed ones and repeats."""
    found = [(trial.score, trial) for trial in trials if trial.status != "failed" and trial.repeat_of is None]
    pairs = [(score, trial) for score, trial in found if score is not None]
    pairs.sort(key=lambda pair: (pair[0].order, pair[1].cost.train_seconds or 0.0, pair[1].name))
    groups: dict[Identity, list[TrialState]] = {}
    for score, trial in pairs:
        groups.setdefault(score.identity, []).append(trial)
    return groups
