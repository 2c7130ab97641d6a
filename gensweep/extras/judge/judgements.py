"""Judgements of a sweep: computed from its log, in the order of the candidates.

The first trial of the sweep is the base, and all others are candidates; repeats have their further seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from gensweep.errors import GensweepError
from gensweep.extras.judge.sequential import Look, judge_pairs
from gensweep.results import order_of
from gensweep.search.reruns import missing_seeds
from gensweep.sweep.events import Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: The sum of 1 / t^1.5 over all whole numbers t.
ZETA = 2.612375348685488


@dataclass(frozen=True)
class Rules:
    """The fixed part of a judgement, as sweep.json keeps it."""

    min_gain: float = 0.01
    """The smallest gain that matters, as a share of the base's score."""
    error_rate: float = 0.05
    """The probability to keep a candidate without a gain; of a stream, the expected share of such among the kept."""
    most_seeds: int = 5
    """Most pairs of trainings."""
    stream: bool = False
    """True if a kept candidate is the base of the next one."""
    data: str = ""
    """The fingerprint of the images."""
    stated: Mapping[str, Any] = field(default_factory=dict)
    """The objective, the seed and the length of the base's file; other files must state the same."""

    def error_rate_of(self, position: int, kept: int) -> float:
        """The error rate of the candidate at a position of a stream, from 1, after `kept` ones were kept.

        LOND (Javanmard & Montanari 2018, "Online rules for control of false discovery rate") also holds for tests that
        depend positively on each other, as these do through their base (Zrnic, Ramdas & Jordan 2021).
        """
        return self.error_rate * (kept + 1) / (ZETA * position**1.5) if self.stream else self.error_rate


@dataclass(frozen=True)
class Judgement:
    """The state of a judgement: the result after each pair, and the scores of both."""

    base: TrialState
    candidate: TrialState
    rules: Rules
    error_rate: float
    decision: str
    looks: list[Look]
    scores: list[tuple[float, float]]
    error: str | None
    """The error of a failed training of the candidate."""


def rules_of(folder: SweepFolder) -> Rules | None:
    """The rules of a sweep; None if it is not one of `gensweep judge` of this version."""
    found = folder.settings.get("judge", {}) if folder.exists else {}
    return Rules(**found) if found.keys() == Rules.__dataclass_fields__.keys() else None


def judgements(state: SweepState, rules: Rules) -> list[Judgement]:
    """The judgement of each candidate, in order."""
    found, base, kept = list[Judgement](), state.searched[0], 0
    for position, candidate in enumerate(state.searched[1:], 1):
        found.append(_judgement(state, base, candidate, rules, rules.error_rate_of(position, kept)))
        if found[-1].decision == "keep" and rules.stream:
            base, kept = candidate, kept + 1
    return found


def due_seeds(state: SweepState, rules: Rules) -> list[Suggested]:
    """The further seeds to train now, for the next pair of the newest candidate.

    Raises GensweepError if the base cannot be trained.
    """
    if len(state.searched) < 2 or (newest := judgements(state, rules)[-1]).decision != "undecided":
        return []
    if newest.base.status == "failed":
        raise GensweepError(
            f"the base {newest.base.trial} failed ({newest.base.error}); fix that, then start anew with --name NEW"
        )
    further = min(rules.most_seeds - 1, max(1, len(newest.scores)))
    return [each for side in (newest.base, newest.candidate) for each in missing_seeds(state, side, further)]


def _judgement(
    state: SweepState, base: TrialState, candidate: TrialState, rules: Rules, error_rate: float
) -> Judgement:
    (ours, _), (theirs, error) = (_trainings(state, each) for each in (base, candidate))
    lower = (np.array([order_of(each, state.mode) for each in scores]) for scores in (ours, theirs))
    looks = judge_pairs(*lower, most=rules.most_seeds, error_rate=error_rate, min_gain=rules.min_gain)
    decision = looks[-1].decision if looks else "undecided"
    if error is not None and decision == "undecided":
        decision = "discard"
    pairs = list(zip(ours, theirs, strict=False))[: len(looks)]
    return Judgement(base, candidate, rules, error_rate, decision, looks, pairs, error)


def _trainings(state: SweepState, first: TrialState) -> tuple[list[float], str | None]:
    """The scores of a configuration by seed, up to the first that has not finished, and the error of a failed one."""
    seeds = [each for each in state.trials.values() if first.trial in (each.trial, each.repeat_of)]
    finished = takewhile(lambda each: each.status == "finished", seeds)
    error = next((each.error for each in seeds if each.status in ("failed", "infeasible")), None)
    return [each.score.value for each in finished if each.score is not None], error
