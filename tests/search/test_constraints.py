"""Several objectives and limits in a search: what is trained, what Optuna is told, and when the search gives up."""

from __future__ import annotations

import json

import pytest
from optuna.trial import TrialState
from session_driver import Driver
from test_study import told

from gensweep.config.objectives import Constraint, Objective
from gensweep.config.search_methods import GaussianProcess, GridSearch, RandomSearch, TpeByBranch
from gensweep.results import Cost
from gensweep.search import schedulers
from gensweep.sweep.events import Ended, SessionEnded, Started

#: x is drawn from -1 to 1, so half of all trials are too large.
POSITIVE = {
    "constraints": (Constraint(metric="params", max=0.0),),
    "known": lambda config: {"params": config["x"]},
}


def test_a_trial_that_breaks_a_known_limit_is_not_trained(tmp_path):
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
    monkeypatch.setattr(schedulers, "MAX_FAILURES_IN_A_ROW", 10)
    nothing = POSITIVE | {"constraints": (Constraint(metric="params", max=-2.0),)}
    driver = Driver(tmp_path, trials=trials, **nothing)
    assert driver.session.next_trial() is None
    count = min(trials, 10)
    assert len(driver.state.trials) == count
    assert (
        f"{count} consecutive trials failed or break a limit (the last one, t{count - 1:04d}: params"
        in driver.session.stop_reason
    )
    driver.session.note(SessionEnded("failed", driver.session.stop_reason))
    assert Driver(tmp_path, trials=trials, **nothing).session.stop_reason


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


SAMPLERS = [
    TpeByBranch(startup_trials=3),
    GaussianProcess(startup_trials=3),
    RandomSearch(),
    GridSearch(),
]


@pytest.mark.trains
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.kind)
def test_every_samplers_study_follows_from_the_log(tmp_path, sampler):
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
    complete = [each for each in driver.told if each.state == TrialState.COMPLETE]
    assert len(complete) == 8
    assert all(each.values == [2.0 + each.params["x"], 1.0 - each.params["x"], 3.0] for each in complete)
    before = told(driver.told)
    driver.session.note(SessionEnded("interrupted"))
    later = Driver(tmp_path, **plan)
    assert told(later.told) == before
    assert later.begin().params["x"] <= 0.5
