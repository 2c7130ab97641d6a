"""Schedulers in a session: no Ray, no processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from session_driver import Driver

from gensweep.config.objectives import Constraint
from gensweep.config.ranges import Range
from gensweep.config.search_methods import (
    AshaSettings,
    MedianStopping,
    RandomSearch,
)
from gensweep.sweep.events import Started

RUNGS = (100, 300, 900)
BUDGET = 900
XS = (0.1, 0.43, 0.21, 0.09, -0.15, 0.29, -0.12, 0.78, 0.93, -0.23)
NODES = (Range("x", "x", -1, 1, None, False, False),)


class Sweep:
    """A sweep whose workers are this loop; the driver may die after every so many evaluations."""

    def __init__(self, root, scheduler, *, slots=1, dies_every=None, fails=None, family=None, most=None, rungs=RUNGS):
        self.root, self.slots, self.fails, self.rungs, self.order = root, slots, fails, rungs, []
        self.settings = {
            "trials": len(XS),
            "search": {"scheduler": scheduler, "sampler": RandomSearch()},
            "sample": lambda trial: {"x": XS[trial.number]},
            "configure": lambda overrides: {**overrides, "family": {"kind": family(overrides["x"]) if family else "a"}},
            "budget": BUDGET,
            "grace": 100,
            "nodes": NODES,
        }
        if most is not None:
            self.settings["constraints"] = (Constraint(metric="params", max=most),)
            self.settings["known"] = lambda config: {"params": config["x"]}
        self.go_on(dies_every)

    def go_on(self, dies_every=None, **asked):
        """Train all that is left, or that is `asked` for besides."""
        self.driver, self.workers, evaluations = Driver(self.root, **self.settings, **asked), {}, 0
        while self.start():
            evaluations += 1
            self.step()
            if dies_every and evaluations % dies_every == 0:
                self.driver, self.workers = Driver(self.root, **self.settings), {}

    def start(self):
        """Fill the slots, as Tune does before any workers have begun; whether there is one that works."""
        begun = []
        while len(self.workers) < self.slots and (trial := self.driver.session.next_trial()) is not None:
            assert trial.trial not in self.workers, f"{trial.trial} was handed out twice"
            self.driver.names[trial.trial] = trial.trial
            begins_at = int(Path(trial.checkpoints[0]).name) if trial.checkpoints else 0
            self.workers[trial.trial] = begins_at
            self.order.append((trial.trial, begins_at))
            begun.append(Started(trial.trial))
        for each in begun:
            self.driver.session.note(each)
        return bool(self.workers)

    def step(self):
        name = next(iter(self.workers))
        before = self.workers.pop(name)
        images = self.workers[name] = next(rung for rung in (*self.rungs, BUDGET + 1) if rung > before)
        x = self.driver.state.trials[name].config["x"]
        if self.fails == (name, images):
            del self.workers[name]
            self.driver.end(name, failure="ValueError: no")
            return
        stops = images <= BUDGET and self.driver.evaluate(images, x + 1 / images, tune_id=name)
        if images >= BUDGET or stops:
            del self.workers[name]
            self.driver.end(name, finished=images >= BUDGET)

    @property
    def ends(self):
        trials = self.driver.folder.state().trials.values()
        return {trial.trial: (trial.status, trial.images, trial.config["x"]) for trial in trials}


class DiesBeforeWorkersBegin(Sweep):
    """Its driver dies whenever it has handed a trial out, before workers have taken it."""

    def start(self):
        self.driver.session.next_trial()
        self.driver, self.workers = Driver(self.root, **self.settings), {}
        return super().start()


SCHEDULERS = [MedianStopping(), AshaSettings()]


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda each: each.kind)
def test_decisions_do_not_depend_on_driver_crashes(tmp_path, scheduler):
    whole = Sweep(tmp_path / "whole", scheduler).ends
    assert {end[0] for end in whole.values()} == {"finished", "pruned"}
    for dies_every in (1, 3):
        assert Sweep(tmp_path / str(dies_every), scheduler, dies_every=dies_every).ends == whole
    assert DiesBeforeWorkersBegin(tmp_path / "at the start", scheduler).ends == whole


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda each: each.kind)
def test_nobody_waits_for_a_trial_that_breaks_a_limit(tmp_path, scheduler):
    sweep = Sweep(tmp_path / "1", scheduler, most=0.5)
    assert {name for name, end in sweep.ends.items() if end[0] == "infeasible"} == {"t0007", "t0008"}
    assert len(sweep.ends) == len(XS)
    assert {end[0] for end in sweep.ends.values()} <= {"finished", "pruned", "infeasible"}
    assert Sweep(tmp_path / "dying", scheduler, most=0.5, dies_every=1).ends == sweep.ends


def test_the_median_stopping_rule_compares_trials_of_one_family(tmp_path):
    """Those of the worse half stop, but not where they are all that there is of their family."""
    alike = Sweep(tmp_path / "alike", MedianStopping()).ends
    assert [name for name, end in alike.items() if end[0] == "pruned"] == ["t0005", "t0007", "t0008"]
    apart = Sweep(tmp_path / "apart", MedianStopping(), family=lambda x: "slow" if x > 0.25 else "fast").ends
    assert [name for name, end in apart.items() if end[0] == "pruned"] == ["t0008"]
