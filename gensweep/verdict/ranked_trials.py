"""Trials in a ranking, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gensweep.results import Score
from gensweep.sweep.trial_state import TrialState


@dataclass(frozen=True)
class RankedTrial:
    """A ranked trial; `differs` are the keys of its parameters that vary within its sweep and family."""

    rank: int
    trial: TrialState
    score: Score
    differs: tuple[str, ...]


def varied_by_family(trials: Iterable[TrialState]) -> dict[str, tuple[str, ...]]:
    """By trial name, the searched parameters that vary within its family; all of a family with one trial."""
    families: dict[str, list[TrialState]] = {}
    for trial in trials:
        families.setdefault(trial.family, []).append(trial)
    found = dict[str, tuple[str, ...]]()
    for family in families.values():
        keys = list(dict.fromkeys(key for trial in family for key in trial.at_best.params))
        if len(family) > 1:
            keys = [key for key in keys if len({repr(trial.at_best.params.get(key, ...)) for trial in family}) > 1]
        found |= {trial.name: tuple(keys) for trial in family}
    return found
