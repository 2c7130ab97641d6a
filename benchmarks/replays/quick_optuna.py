"""Makes replays three times as fast, with the same results: Optuna copies and checks trials only where that is needed.

A replay rebuilds its study from all trials whenever it samples, and no study changes the trials that it is given.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial

from gensweep.search import samplers
from gensweep.search.space import Outcome, Sample, frozen_trial
from gensweep.sweep.trial_state import TrialState

#: Attributes of a FrozenTrial that change while it runs.
CHANGING = ("_params", "_distributions", "_user_attrs", "_system_attrs", "intermediate_values")


def speed_up() -> None:
    """Replace Optuna's deep copies and checks, and convert the parameters of each trial once."""
    first = WeakKeyDictionary[TrialState, FrozenTrial]()

    def converted(trial: TrialState, number: int, sample: Sample, ended: Outcome) -> FrozenTrial:
        if trial not in first:
            first[trial] = frozen_trial(trial, number, sample, ended)
        new = _copied(first[trial])
        (new.state, new.values), new.intermediate_values = ended, trial.curve
        return new

    samplers.frozen_trial = converted
    optuna.storages._in_memory.copy = SimpleNamespace(copy=copy.copy, deepcopy=_copied)  # type: ignore[assignment]
    FrozenTrial._validate = lambda self: None  # type: ignore[method-assign]


def _copied(value: Any) -> Any:
    if not isinstance(value, FrozenTrial):
        return copy.deepcopy(value)
    new = copy.copy(value)
    for name in CHANGING:
        setattr(new, name, dict(getattr(new, name)))
    return new
