"""Sweeps of trivial jobs, and an observer that remembers."""

from __future__ import annotations

import jobs
import torch
from list_reporter import ListReporter

from gensweep.config.objectives import Objective
from gensweep.config.search_methods import Fifo
from gensweep.config.sweep_config import Resources, Search
from gensweep.search.sweep_plan import SweepPlan
from gensweep.training.reporter import WorkerContext


class Memory:
    """An observer that remembers every event, in order."""

    def __init__(self):
        self.events = []

    def __call__(self, event, state):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def numbered(trial):
    """Overrides of a trial: its number, and an x that the sampler draws."""
    return {"number": trial.number, "x": trial.suggest_float("x", -1, 1)}


def plan(name="a", *, trials=4, configs=None, sample=None, mode="min", search=None, **settings):
    """A sweep over x; or, with `configs`, of the given configurations in that order.

    `search` are settings of the search other than the number of trials; by default no trial is stopped early.
    """

    def configure(overrides):
        number = overrides.get("number")
        return {**({} if configs is None else configs[number]), **overrides}

    defaults = {
        "budget": 400,
        "job": jobs.count,
        "resources": Resources(concurrent=1),  # each further one costs the test another worker group
    }
    return SweepPlan(
        name=name,
        objective=Objective(metric="fd", mode=mode),
        search=Search(**{"trials": trials, "scheduler": Fifo(), **(search or {})}),
        sample=sample or (numbered if configs is None else lambda trial: {"number": trial.number}),
        **{"configure": configure, **defaults, **settings},
    )


def undisturbed_sum(config, folder):
    """The last checksum of a trivial trial that runs alone, without Ray."""
    reporter = ListReporter()
    jobs.count(config, WorkerContext(0, 1, torch.device("cpu"), folder), reporter)
    return reporter.checkpoints[-1][0].signals["sum"]
