"""Tune's schedulers as the session asks them: no Ray, no processes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from session_driver import Driver

from gensweep.config.objectives import Constraint
from gensweep.config.ranges import Choices, Range
from gensweep.config.search_methods import (
    AshaSettings,
    HyperBand,
    MedianStopping,
    PopulationBasedTraining,
    RandomSearch,
)
from gensweep.sweep.events import Started
from gensweep.sweep.perturbation import clipped, mutations
from gensweep.sweep.retrying import Retry

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
        return {
            trial.trial: (trial.status, trial.images, trial.config["x"], [each.source for each in trial.lineage])
            for trial in trials
        }


class DiesBeforeWorkersBegin(Sweep):
    """Its driver dies whenever it has handed a trial out, before workers have taken it."""

    def start(self):
        self.driver.session.next_trial()
        self.driver, self.workers = Driver(self.root, **self.settings), {}
        return super().start()


SCHEDULERS = [HyperBand(), MedianStopping(), PopulationBasedTraining()]


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, AshaSettings()], ids=lambda each: each.kind)
def test_a_sweep_whose_driver_dies_again_and_again_decides_as_if_it_never_had(tmp_path, scheduler):
    whole = Sweep(tmp_path / "whole", scheduler).ends
    assert {end[0] for end in whole.values()} == ({"finished"} if scheduler.kind == "pbt" else {"finished", "pruned"})
    for dies_every in (1, 3):
        assert Sweep(tmp_path / str(dies_every), scheduler, dies_every=dies_every).ends == whole
    assert DiesBeforeWorkersBegin(tmp_path / "at the start", scheduler).ends == whole


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, AshaSettings()], ids=lambda each: each.kind)
def test_nobody_waits_for_a_trial_that_breaks_a_limit(tmp_path, scheduler):
    sweep = Sweep(tmp_path / "1", scheduler, most=0.5)
    assert {name for name, end in sweep.ends.items() if end[0] == "infeasible"} == {"t0007", "t0008"}
    assert len(sweep.ends) == len(XS)
    assert {end[0] for end in sweep.ends.values()} <= {"finished", "pruned", "infeasible"}
    assert Sweep(tmp_path / "dying", scheduler, most=0.5, dies_every=1).ends == sweep.ends


def test_asha_ends_who_waits_where_the_last_trial_breaks_a_limit(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "XS", (0.1, 0.2, 0.3, 0.4, 1.0))
    sweep = Sweep(tmp_path, AshaSettings(), most=0.9)
    assert [end[0] for end in sweep.ends.values()] == ["finished", "pruned", "pruned", "pruned", "infeasible"]


@pytest.mark.parametrize("scheduler", [HyperBand(), PopulationBasedTraining()], ids=lambda each: each.kind)
def test_who_goes_on_does_not_depend_on_how_many_run_at_once(tmp_path, scheduler):
    assert Sweep(tmp_path / "1", scheduler).ends == Sweep(tmp_path / "4", scheduler, slots=4).ends


def test_hyperband_lets_the_best_third_of_a_bracket_go_on_from_where_they_paused(tmp_path):
    """Li et al. 2018, table 1, for R = 9 and eta = 3: 3 trials at 9, 5 at 3, 9 at 1, of which here are two."""
    sweep = Sweep(tmp_path, HyperBand())
    assert {name for name, (status, *_) in sweep.ends.items() if status == "finished"} == {
        *("t0000", "t0001", "t0002"),  # begin at the whole budget
        *("t0004", "t0006"),  # the best two of five at 300
        "t0009",  # the better one of the last two, at 100 and 300
    }
    assert {begins_at for _, begins_at in sweep.order} == {0, 100, 300}


def test_hyperband_counts_a_score_at_the_rung_that_it_is_a_little_short_of(tmp_path):
    """Else those who were evaluated after 0.33 of a training would go on to its end."""
    exact, early = Sweep(tmp_path / "300", HyperBand()), Sweep(tmp_path / "295", HyperBand(), rungs=(100, 295, 900))
    status = [{name: end[0] for name, end in sweep.ends.items()} for sweep in (exact, early)]
    assert status[0] == status[1]
    assert {begins_at for _, begins_at in early.order} == {0, 100, 295}


@pytest.mark.parametrize("first", [4, 10])
def test_hyperband_halves_those_that_are_added_to_a_sweep(tmp_path, monkeypatch, first):
    """Else they joined a bracket whose others have gone, and trained to the end."""
    xs = tuple(math.sin(9 * number) for number in range(20))
    monkeypatch.setitem(globals(), "XS", xs)
    whole, ends = Sweep(tmp_path / "whole", HyperBand()).ends, []
    for dies_every in (None, 1):
        monkeypatch.setitem(globals(), "XS", xs[:first])
        sweep = Sweep(tmp_path / f"dies every {dies_every}", HyperBand())
        monkeypatch.setitem(globals(), "XS", xs)
        sweep.go_on(dies_every, more_trials=len(xs) - first)
        ends.append(sweep.ends)
    assert ends[0] == ends[1]
    trained = [sum(images for _, images, *_ in each.values()) for each in (whole, ends[0])]
    assert trained[1] <= 1.1 * trained[0]


def test_those_who_wait_for_a_trial_that_fails_go_on(tmp_path):
    for scheduler, failure in ((HyperBand(), ("t0007", 300)), (PopulationBasedTraining(), ("t0009", 300))):
        sweep = Sweep(tmp_path / scheduler.kind, scheduler, fails=failure)
        assert sweep.ends[failure[0]][0] == "failed"
        assert {status for status, *_ in sweep.ends.values()} <= {"failed", "finished", "pruned"}


def test_a_failure_does_not_keep_hyperband_from_halving(tmp_path, monkeypatch):
    """Else those who wait in a bracket go on in the order of their numbers, one of them too many."""
    monkeypatch.setitem(globals(), "XS", tuple(math.sin(9 * number) for number in range(17)))
    ends = [Sweep(tmp_path / str(failing), HyperBand(), fails=failing).ends for failing in (None, ("t0013", 300))]
    assert [sum(status == "finished" for status, *_ in each.values()) for each in ends] == [6, 6]


def test_a_population_is_perturbed_where_the_last_one_to_come_fails(tmp_path):
    """Else one trial goes a whole interval further, and others become clones of it."""
    sweep = Sweep(tmp_path, PopulationBasedTraining(), fails=("t0009", 300), rungs=(100, 200, 300, 400, 900))
    everybody, others = set(sweep.ends), set(sweep.ends) - {"t0009"}
    begun = {at: {trial for trial, begins_at in sweep.order if begins_at == at} for at in (0, 100, 200, 300, 400)}
    assert begun == {0: everybody, 100: everybody, 200: everybody, 300: others, 400: others}
    assert any(each.images == 300 for trial in sweep.driver.state.trials.values() for each in trial.lineage)


def test_who_is_cloned_does_not_depend_on_who_comes_last(tmp_path):
    def clones(order):
        settings = {
            "search": {"scheduler": PopulationBasedTraining(), "sampler": RandomSearch()},
            "sample": lambda trial: {"x": XS[trial.number]},
            "budget": BUDGET,
            "grace": 100,
            "nodes": NODES,
        }
        driver = Driver(tmp_path / "".join(map(str, order)), trials=4, **settings)
        for number in range(4):
            driver.begin(f"t{number}")
        for number in order:
            driver.evaluate(100, XS[number], tune_id=f"t{number}")
            driver.end(f"t{number}")
        return {trial.trial: trial.config["x"] for trial in driver.state.trials.values() if trial.lineage}

    assert clones((0, 1, 2, 3)) == clones((3, 1, 0, 2)) != {}


def test_a_retry_takes_no_stop_back(tmp_path):
    settings = {"search": {"scheduler": MedianStopping(min_trials=1), "sampler": RandomSearch()}}
    settings |= {"configure": lambda overrides: {**overrides, "training": {"images": 900}}, "budget": 900, "grace": 100}
    driver = Driver(tmp_path, trials=3, **settings)
    driver.begin("failing")
    driver.end("failing", failure="ValueError: no")
    for name, value in (("good", 1.0), ("bad", 9.0)):
        driver.begin(name)
        stops = driver.evaluate(100, value, tune_id=name)
    assert stops
    later = Driver(tmp_path, trials=3, **settings, retry=Retry((), {"training.log_every": 5}))
    assert {trial.trial: trial.status for trial in later.state.trials.values()} == {
        "t0000": "waiting",
        "t0001": "stopped",
        "t0002": "pruned",
    }


def test_the_median_stopping_rule_compares_trials_of_one_family(tmp_path):
    """Those of the worse half stop, but not where they are all that there is of their family."""
    alike = Sweep(tmp_path / "alike", MedianStopping()).ends
    assert [name for name, end in alike.items() if end[0] == "pruned"] == ["t0005", "t0007", "t0008"]
    apart = Sweep(tmp_path / "apart", MedianStopping(), family=lambda x: "slow" if x > 0.25 else "fast").ends
    assert [name for name, end in apart.items() if end[0] == "pruned"] == ["t0008"]


def test_population_based_training_clones_the_best_and_keeps_the_checkpoints_that_clones_need(tmp_path, monkeypatch):
    there, start = [], Sweep.start

    def look(sweep):
        trials = sweep.driver.state.trials.values()
        there.extend(Path(uri).is_dir() for trial in trials for uri in trial.checkpoints if not trial.ended)
        return start(sweep)

    monkeypatch.setattr(Sweep, "start", look)
    sweep = Sweep(tmp_path, PopulationBasedTraining())
    assert there
    assert all(there)
    trials = sweep.driver.folder.state().trials
    assert sum(bool(trial.lineage) for trial in trials.values()) >= 3
    for trial in trials.values():
        assert -1 <= trial.config["x"] <= 1
        for each in trial.lineage:
            assert each.uri.endswith(f"{each.source}/{each.images:012d}")
            assert each.params["x"] == each.config["x"]
        assert sweep.driver.kept(trial.trial) == [trial.best.evaluation.images]
    assert min(trial.objective.value for trial in trials.values()) < min(XS)  # it found what nobody had drawn


def test_perturbed_values_stay_within_their_ranges_and_steps():
    nodes = (
        Range("lr", "lr", 1e-5, 1e-2, None, True, False),
        Range("width", "width", 8, 32, 8, False, True),
        Choices("loss", "loss", ("a", "b")),
        Range("count", "count", 1, 9, None, True, True),
    )
    spec = mutations(nodes)
    assert (spec["width"], spec["loss"]) == ([8, 16, 24, 32], ["a", "b"])
    assert {spec["count"]() for _ in range(300)} == set(range(1, 10))
    assert all(1e-5 <= spec["lr"]() <= 1e-2 for _ in range(50))
    assert clipped({"lr": 0.012, "width": 8, "count": 0}, nodes) == {"lr": 1e-2, "width": 8, "count": 1}
