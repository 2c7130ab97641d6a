"""Judgements of a sweep: computed from its log, in the order of the candidates.

The first trial of the sweep is the base, and all others are candidates; repeats have their further seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gensweep.errors import GensweepError
from gensweep.extras.judge.sequential import Decision, Look, look
from gensweep.results import order_of
from gensweep.sweep.events import Suggested
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: The sum of 1 / t^1.5 over all whole numbers t.
ZETA = 2.612375348685488


@dataclass(frozen=True)
class Rules:
    """The fixed part of a judgement, as sweep.json keeps it."""

    min_gain: float = 0.01
    """The smallest gain that matters, as a share of the base's score."""
    error: float = 0.05
    """The probability to keep a candidate without a gain; of a stream, the expected share of such among the kept."""
    most_seeds: int = 5
    """Most pairs of trainings."""
    stream: bool = False
    """True if a kept candidate is the base of the next one."""
    data: str = ""
    """The fingerprint of the images."""
    stated: Mapping[str, Any] = field(default_factory=dict)
    """The seed and the length of the base's file; other files must state the same."""

    def error_of(self, position: int, kept: int) -> float:
        """The error of the candidate at a position of a stream, from 1, after `kept` ones were kept.

        LOND (Javanmard & Montanari 2018, "Online rules for control of false discovery rate") also holds for tests that
        depend positively on each other, as these do through their base (Zrnic, Ramdas & Jordan 2021).
        """
        return self.error * (kept + 1) / (ZETA * position**1.5) if self.stream else self.error


@dataclass(frozen=True)
class Judgement:
    """The state of a judgement: the result after each pair, and the scores of both."""

    base: TrialState
    candidate: TrialState
    error: float
    decision: Decision
    looks: tuple[Look, ...]
    scores: tuple[tuple[float, float], ...]
    failed: str | None
    """The error of a failed training of the candidate."""


def judgements(state: SweepState, rules: Rules) -> list[Judgement]:
    """The judgement of each candidate, in order."""
    found, base, kept = list[Judgement](), state.searched[0], 0
    for position, candidate in enumerate(state.searched[1:], 1):
        found.append(_judgement(state, base, candidate, rules, rules.error_of(position, kept)))
        if found[-1].decision == "keep" and rules.stream:
            base, kept = candidate, kept + 1
    return found


def current_base(state: SweepState, rules: Rules) -> TrialState:
    """The base of the next candidate."""
    kept = [each.candidate for each in judgements(state, rules) if each.decision == "keep" and rules.stream]
    return [state.searched[0], *kept][-1]


def due_seeds(state: SweepState, rules: Rules) -> list[Suggested]:
    """The further seeds to train now, for the next pair of the newest candidate."""
    if len(state.searched) < 2 or (newest := judgements(state, rules)[-1]).decision != "undecided":
        return []
    wanted = min(rules.most_seeds, max(2, len(newest.scores) + 1))
    return [*_further(state, newest.base, wanted), *_further(state, newest.candidate, wanted)]


def _judgement(state: SweepState, base: TrialState, candidate: TrialState, rules: Rules, error: float) -> Judgement:
    scores = list(zip(*(_scores(_seeds(state, each)) for each in (base, candidate)), strict=False))[: rules.most_seeds]
    lower = np.array([[order_of(each, state.mode) for each in pair] for pair in scores])
    looks = list[Look]()
    for n in range(1, len(scores) + 1):
        looks.append(look(*lower[:n].T, most=rules.most_seeds, error=error, least_gain=rules.min_gain))
        if looks[-1].decision != "undecided":
            break
    failed = next((each.error for each in _seeds(state, candidate) if each.status in ("failed", "infeasible")), None)
    decision = looks[-1].decision if looks else "undecided"
    if failed is not None and decision == "undecided":
        decision = "discard"
    return Judgement(base, candidate, error, decision, tuple(looks), tuple(scores[: len(looks)]), failed)


def _seeds(state: SweepState, first: TrialState) -> Iterator[TrialState]:
    """The trainings of a configuration in the order of their seeds."""
    names = (first.trial, *(f"{first.trial}-s{number}" for number in range(1, len(state.trials))))
    yield from (state.trials[name] for name in names if name in state.trials)


def _scores(trials: Iterator[TrialState]) -> Iterator[float]:
    """The scores of trainings, up to the first that has not finished."""
    for trial in trials:
        if trial.status != "finished" or trial.score is None:
            return
        yield trial.score.value


def _further(state: SweepState, first: TrialState, wanted: int) -> list[Suggested]:
    """The missing seeds of a configuration, of `wanted` ones.  Raises GensweepError if the base cannot be trained."""
    if first is state.searched[0] and first.status == "failed":
        raise GensweepError(f"the base {first.trial} failed ({first.error}); fix that, then start anew with --name NEW")
    names = {number: f"{first.trial}-s{number}" for number in range(1, wanted)}
    seed, of = first.config.get("seed", 0), first.trial
    return [
        Suggested(name, first.number, {}, first.params, {**first.config, "seed": seed + number}, repeat_of=of)
        for number, name in names.items()
        if name not in state.trials
    ]
