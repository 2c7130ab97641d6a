"""Trials in a ranking, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gensweep.results import Score
from gensweep.tracking.records import TrialRecord


@dataclass(frozen=True)
class RankedTrial:
    """A ranked trial; `differs` are the keys of its parameters that vary within its sweep and family."""

    rank: int
    trial: TrialRecord
    score: Score
    differs: tuple[str, ...]


def varied(trials: Iterable[TrialRecord]) -> tuple[str, ...]:
    """The searched parameters whose values are not the same in all trials, in order of appearance."""
    listed = list(trials)
    keys = dict.fromkeys(key for trial in listed for key in trial.params)
    if len(listed) < 2:
        return tuple(keys)
    missing = object()
    return tuple(key for key in keys if len({repr(trial.params.get(key, missing)) for trial in listed}) > 1)


def varied_by_family(trials: Iterable[TrialRecord]) -> dict[str, tuple[str, ...]]:
    """By run id of each trial, the keys that vary among the trials of its own family."""
    families: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        families.setdefault(trial.family, []).append(trial)
    return {trial.run_id: keys for family in families.values() for keys in [varied(family)] for trial in family}
