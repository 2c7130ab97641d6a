"""Several objectives and limits in a search: what is trained, what Optuna is told, and when the search gives up."""

from __future__ import annotations

import json

import pytest
from optuna.trial import TrialState
from session_driver import Driver
from test_study import told
from trivial_sweeps import plan

from gensweep.config.objectives import Constraint, Objective
from gensweep.config.ranges import Range
from gensweep.config.search_methods import GaussianProcess, GridSearch, Nsga2, RandomSearch, Tpe
from gensweep.errors import ConfigError
from gensweep.results import Cost
from gensweep.sweep import giving_up
from gensweep.sweep.events import Ended, SessionEnded, Started
from gensweep.sweep.feasibility import check_feasible, feasibility

#: x is drawn from -1 to 1, so half of all trials are too large.
POSITIVE = {
    "constraints": (Constraint(metric="params", max=0.0),),
    "known": lambda config: {"params": config["x"]},
}


def test_a_trial_that_cannot_meet_a_limit_is_not_trained_and_optuna_learns_that(tmp_path):
    driver = Driver(tmp_path, trials=12, **POSITIVE)
    begun = []
    while driver.session.state.left:
        trial = driver.session.next_trial()
        if trial is None:
            break
        begun.append(trial.trial)
        driver.names["x"] = trial.trial
        driver.session.note(Started(trial.trial))
        driver.evaluate(400, 1.0 + trial.params["x"], cost=Cost(params=-1))
        driver.end(finished=True)
    infeasible = {trial.trial for trial in driver.state.trials.values() if trial.status == "infeasible"}
    assert infeasible == {trial.trial for trial in driver.state.trials.values() if trial.params["x"] > 0}
    assert {*begun} == {*driver.state.trials} - infeasible
    assert len(driver.state.trials) == 12 > len(begun) > 0
    assert not {event.trial for event in driver.memory.of(Started)} & infeasible
    for trial, each in zip(driver.state.trials.values(), driver.told, strict=True):
        ended = TrialState.PRUNED if trial.trial in infeasible else TrialState.COMPLETE
        assert (each.state, each.constraints["params"] > 0) == (ended, trial.trial in infeasible)
    words = {event.trial: event.error for event in driver.memory.of(Ended) if event.status == "infeasible"}
    assert words.keys() == infeasible
    assert all("params 0." in each and "is more than 0" in each for each in words.values())


@pytest.mark.trains
def test_a_sampler_that_learns_draws_more_trials_that_meet_a_limit(tmp_path):
    def meeting(sampler):
        driver = Driver(tmp_path / sampler.kind, trials=40, search={"sampler": sampler}, **POSITIVE)
        while (trial := driver.session.next_trial()) is not None:
            driver.names["x"] = trial.trial
            driver.session.note(Started(trial.trial))
            driver.evaluate(400, 1.0)
            driver.end(finished=True)
        return sum(trial.status == "finished" for trial in list(driver.state.trials.values())[10:])

    assert meeting(Tpe()) > 18 > meeting(RandomSearch())


def test_a_crash_between_the_draw_and_its_end_trains_nothing(tmp_path):
    driver = Driver(tmp_path, trials=12, **POSITIVE)
    while not (ends := driver.memory.of(Ended)):
        driver.begin()
    name, file = ends[0].trial, driver.folder.log.file
    lines = file.read_text().splitlines(keepends=True)
    ended = next(n for n, line in enumerate(lines) if json.loads(line)["event"] == "ended")
    file.write_text("".join(lines[:ended]))
    later = Driver(tmp_path, trials=12, **POSITIVE)
    assert later.state.trials[name].status == "infeasible"
    assert later.told[later.state.trials[name].number].state == TrialState.PRUNED
    assert later.begin().trial != name


@pytest.mark.parametrize("trials", [5, 15])
def test_a_search_that_finds_nothing_within_its_limits_ends_and_says_so(tmp_path, monkeypatch, trials):
    monkeypatch.setattr(giving_up, "MAX_FRUITLESS_IN_A_ROW", 10)
    nothing = POSITIVE | {"constraints": (Constraint(metric="params", max=-2.0),)}
    driver = Driver(tmp_path, trials=trials, **nothing)
    assert driver.session.next_trial() is None
    count = min(trials, 10)
    assert len(driver.state.trials) == count
    assert f"{count} trials in a row break a limit (the last one, t{count - 1:04d}: params" in driver.session.gives_up
    driver.session.note(SessionEnded("failed", driver.session.gives_up))
    assert Driver(tmp_path, trials=trials, **nothing).session.gives_up


def test_a_trial_that_trains_while_others_break_a_limit_comes_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(giving_up, "MAX_FRUITLESS_IN_A_ROW", 10)
    limits = POSITIVE | {"sample": lambda trial: {"x": -1.0 if trial.number == 0 else 1.0}}
    driver = Driver(tmp_path, trials=50, **limits)
    driver.begin()
    driver.evaluate(100, 1.0)
    assert driver.session.next_trial() is None
    assert len(driver.state.trials) == 11
    assert driver.session.gives_up is None
    driver.session.note(SessionEnded("interrupted"))
    later = Driver(tmp_path, trials=50, **limits)
    assert later.begin().trial == "t0000"
    assert later.session.next_trial() is None
    later.end(finished=True)
    assert later.state.trials["t0000"].status == "finished"


def test_a_limit_that_is_measured_is_judged_with_the_score(tmp_path):
    slow = {"constraints": (Constraint(metric="sample_seconds", max=1.0),)}
    driver = Driver(tmp_path, trials=3, **slow)
    for tune_id, value, seconds in (("a", 1.0, 9.0), ("b", 5.0, 0.5), ("c", 7.0, 0.5)):
        driver.begin(tune_id)
        driver.evaluate(400, value, tune_id=tune_id, cost=Cost(sample_seconds=seconds))
        driver.end(tune_id, finished=True)
        if tune_id == "a":
            assert driver.state.best.trial == "t0000"
    assert [trial.trial for trial in driver.state.ranking] == ["t0001", "t0002"]
    assert driver.state.trials["t0000"].broken_limits == ("sample_seconds 9 is more than 1",)
    assert [each.constraints["sample_seconds"] for each in driver.told] == [8.0, -0.5, -0.5]


SAMPLERS = [Tpe(startup_trials=3), Nsga2(population=4), GaussianProcess(startup_trials=3), RandomSearch(), GridSearch()]


@pytest.mark.trains
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.kind)
def test_all_samplers_but_cmaes_search_for_several_objectives_and_their_study_follows_from_the_log(tmp_path, sampler):
    plan = {
        "trials": 16,
        "further": (Objective(metric="sample_flops"), Objective(metric="flops", mode="max")),
        "constraints": (Constraint(metric="params", max=0.5),),
        "known": lambda config: {"params": config["x"]},
        "sample": lambda trial: {"x": trial.suggest_float("x", -1, 1, step=0.1)},
        "search": {"sampler": sampler},
    }
    driver = Driver(tmp_path, **plan)
    for _ in range(8):
        x = driver.begin().params["x"]
        driver.evaluate(200, 9.0)
        driver.evaluate(400, 2.0 + x, cost=Cost(images=400, sample_flops=1.0 - x, flops=3.0, params=x))
        driver.end(finished=True)
    assert driver.session.study.directions == ["MINIMIZE", "MINIMIZE", "MAXIMIZE"]
    complete = [each for each in driver.told if each.state == TrialState.COMPLETE]
    assert len(complete) == 8
    assert all(each.values == [2.0 + each.params["x"], 1.0 - each.params["x"], 3.0] for each in complete)
    before = told(driver.told)
    driver.session.note(SessionEnded("interrupted"))
    later = Driver(tmp_path, **plan)
    assert told(later.told) == before
    assert later.begin().params["x"] <= 0.5


def space(*overrides, most):
    limit = (Constraint(metric="params", max=most),)
    nodes = (Range("x", "x", -1.0, 1.0, None, log=False, integer=False),)
    return plan(
        sample=lambda trial: {"x": trial.suggest_float("x", -1, 1)},
        nodes=nodes,
        constraints=limit,
        known=POSITIVE["known"],
        queue=overrides,
    )


def test_a_limit_that_nothing_meets_is_refused_with_the_value_that_is_nearest():
    with pytest.raises(ConfigError, match=r"constraints: none of 102 trials meets params <= -2 \(the nearest has -1\)"):
        check_feasible(space(most=-2.0))
    (finding,) = feasibility(space(most=-2.0))
    assert finding.problem.startswith("constraints: none of 102 trials meets params <= -2 (the nearest has -1)")


def test_a_limit_that_only_an_extreme_trial_meets_is_no_problem():
    check_feasible(space(most=-1.0))
    (finding,) = feasibility(space(most=-1.0))
    assert finding.detail.startswith("0 of 100 random trials meet what is known beforehand of params <= -1")
    assert finding.problem is None


def test_the_share_of_trials_that_meet_a_limit_is_counted():
    check_feasible(space(most=-0.9))
    (finding,) = feasibility(space(most=0.0))
    share = int(finding.detail.partition(" of 100 random trials")[0])
    assert 35 < share < 70
    assert finding.problem is None
    assert list(feasibility(plan())) == []
