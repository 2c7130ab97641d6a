"""Judgements of a sweep: computed from its log, in the order of the candidates.

The first trial of such a sweep is the base, and every other one a candidate; repeats have their further seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

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
    """What a judgement holds fixed, as sweep.json keeps it."""

    min_gain: float = 0.01
    """The smallest gain that matters, as a share of the base's score."""
    error: float = 0.05
    """The probability to keep a candidate without a gain; of a stream, the expected share of such among the kept."""
    most_seeds: int = 5
    """Most pairs of trainings."""
    data: str = ""
    """The fingerprint of the images."""
    base_seeds: int = 1
    """Seeds of the base that are trained first."""
    stream: bool = False
    """True if a kept candidate is the base of the next one."""

    def error_of(self, position: int, kept: int) -> float:
        """The error of the candidate at a position of a stream, from 1, after `kept` ones were kept.

        LOND (Javanmard & Montanari 2018, "Online rules for control of false discovery rate") also holds for tests that
        depend positively on each other, as these do through their base (Zrnic, Ramdas & Jordan 2021).
        """
        return self.error * (kept + 1) / (ZETA * position**1.5) if self.stream else self.error


@dataclass(frozen=True)
class Judgement:
    """What is known of a candidate; `looks` has one item for each pair."""

    base: TrialState
    candidate: TrialState
    known: int
    """Seeds of the base that were trained before."""
    error: float
    decision: Decision
    looks: tuple[Look, ...]
    scores: tuple[tuple[float, float], ...]
    """The scores of base and candidate, by seed."""
    failed: str | None = None
    """The error of a failed training of the candidate."""

    @property
    def last(self) -> Look | None:
        """The newest look, or None before the first pair."""
        return self.looks[-1] if self.looks else None

    @property
    def scale(self) -> float:
        """The mean score of the base, to which gains are relative."""
        return abs(sum(base for base, _ in self.scores) / len(self.scores)) if self.scores else inf


def judgements(state: SweepState, rules: Rules) -> list[Judgement]:
    """The judgement of each candidate, in order."""
    found: list[Judgement] = []
    base, known, kept = state.searched[0] if state.searched else None, rules.base_seeds, 0
    for position, candidate in enumerate(state.searched[1:], 1):
        assert base is not None
        judged = _judgement(state, base, candidate, known, rules, rules.error_of(position, kept))
        found.append(judged)
        known = max(known, len(judged.scores))
        if judged.decision == "keep" and rules.stream:
            base, known, kept = candidate, len(judged.scores), kept + 1
    return found


def current_base(state: SweepState, rules: Rules) -> TrialState:
    """The base of the next candidate.  Raises GensweepError if the sweep has none yet."""
    if not state.searched:
        raise GensweepError("the base has not been trained yet; run the same gensweep judge --init again")
    kept = [each.candidate for each in judgements(state, rules) if each.decision == "keep" and rules.stream]
    return kept[-1] if kept else state.searched[0]


def due_seeds(state: SweepState, rules: Rules) -> list[Suggested]:
    """The further seeds to train now: those of the base, or the next pair of the newest candidate."""
    judged = judgements(state, rules)
    if not judged:
        return [] if not state.searched else _further(state, state.searched[0], rules.base_seeds)
    newest = judged[-1]
    if newest.decision != "undecided" or newest.failed:
        return []
    wanted = min(rules.most_seeds, max(2, len(newest.scores) + 1))
    return [*_further(state, newest.base, wanted), *_further(state, newest.candidate, wanted)]


def judgement_json(judged: Judgement, rules: Rules) -> dict[str, Any]:
    """A judgement as `gensweep judge --format json` prints it; gains are shares of the base's mean score."""
    last, costs = judged.last, [trial.cost for trial in (judged.base, judged.candidate)]
    values: dict[str, Any] = {"decision": judged.decision, "base": judged.base.name, "candidate": judged.candidate.name}
    values |= {"pairs": len(judged.scores), "gain": None, "low": None, "high": None, "chance": None, "needed": None}
    if last is not None:
        low, high = (end / judged.scale for end in last.interval)
        values |= {"gain": last.gain / judged.scale, "low": low, "high": high}
        values |= {"chance": last.chance, "needed": last.needed}
    values["pair_cost"] = {
        unit: sum(getattr(cost, unit) or 0.0 for cost in costs) for unit in ("flops", "device_seconds")
    }
    values["scores"] = [list(pair) for pair in judged.scores]
    return values | {"failed": judged.failed, "error": judged.error, "rules": asdict(rules)}


def _judgement(
    state: SweepState, base: TrialState, candidate: TrialState, known: int, rules: Rules, error: float
) -> Judgement:
    pairs, looks, decision = list[tuple[float, float]](), list[Look](), "undecided"
    of_base, of_candidate = list(_scores(_seeds(state, base))), list(_scores(_seeds(state, candidate)))
    failed = next((each.error for each in _seeds(state, candidate) if _has_failed(each)), None)
    known = min(known, len(of_base))
    for n in range(1, min(len(of_base), len(of_candidate), rules.most_seeds) + 1):
        pairs.append((of_base[n - 1], of_candidate[n - 1]))
        orders = ([order_of(score, state.mode) for score in scores] for scores in (of_base, of_candidate[:n]))
        least = rules.min_gain * abs(sum(of_base[:n]) / n)
        looks.append(look(*orders, most=rules.most_seeds, error=error, least_gain=least, known=known))
        if (decision := looks[-1].decision) != "undecided":
            break
    if failed is not None and decision != "keep":
        decision = "discard"
    return Judgement(base, candidate, known, error, decision, tuple(looks), tuple(pairs), failed)  # type: ignore[arg-type]


def _has_failed(trial: TrialState) -> bool:
    return trial.status in ("failed", "infeasible") and not trial.infrastructure_error


def _seeds(state: SweepState, first: TrialState) -> Iterator[TrialState]:
    """The trainings of a configuration in the order of their seeds, up to the first that is missing."""
    trial: TrialState | None = first
    while trial is not None:
        yield trial
        number = 1 if trial is first else int(trial.trial.rpartition("-s")[2]) + 1
        trial = state.trials.get(f"{first.trial}-s{number}")


def _scores(trials: Iterator[TrialState]) -> Iterator[float]:
    """The scores of finished trainings, up to the first that has not finished; without bias where that is known."""
    for trial in trials:
        if trial.status != "finished" or trial.score is None:
            return
        yield trial.score.value if trial.score.corrected is None else trial.score.corrected


def _further(state: SweepState, first: TrialState, wanted: int) -> list[Suggested]:
    """The missing seeds of a configuration, of `wanted` ones."""
    seed: int = first.config.get("seed", 0)
    return [
        Suggested(name, first.number, {}, first.params, {**first.config, "seed": seed + number}, repeat_of=first.trial)
        for number in range(1, wanted)
        if (name := f"{first.trial}-s{number}") not in state.trials
    ]


def alike(one: Mapping[str, Any], other: Mapping[str, Any], ignored: Sequence[str] = ("seed",)) -> bool:
    """True if two configurations train the same, whatever their seeds."""
    first, second = ({key: value for key, value in each.items() if key not in ignored} for each in (one, other))
    return first == second
