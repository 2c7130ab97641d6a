"""Sweeps of trivial jobs, and an observer that remembers."""

from __future__ import annotations

import jobs

from gensweep.sweep.plan import Plan
from gensweep.sweep.resources import Request


class Memory:
    """Remembers every call, in order."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if not name.startswith(("sweep_", "trial_")):
            raise AttributeError(name)
        return lambda record: self.calls.append((name, record))

    def of(self, name):
        return [record for call, record in self.calls if call == name]


def plan(name="a", *, trials=4, configs=None, sample=None, **settings):
    """A sweep over x; or, with `configs`, of the given configurations in that order."""

    def configure(overrides):
        number = overrides.get("number")
        return {**({} if configs is None else configs[number]), **overrides}

    def numbered(trial):
        return {"number": trial.number, "x": trial.suggest_float("x", -1, 1)}

    defaults = {
        "metric": "fd",
        "mode": "min",
        "budget": 400,
        "job": jobs.count,
        "scheduler": "fifo",
        "request": Request(concurrent=1),  # each further one costs the test another worker group
    }
    return Plan(
        name=name,
        trials=trials,
        sample=sample or (numbered if configs is None else lambda trial: {"number": trial.number}),
        configure=configure,
        **{**defaults, **settings},
    )
