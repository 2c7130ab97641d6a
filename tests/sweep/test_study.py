"""Optuna's study of a sweep, as its sampler sees it, follows from the sweep's log."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState
from session_driver import Driver

from gensweep.config.search_methods import CmaEs
from gensweep.sweep import study
from gensweep.sweep.events import WarmStarted
from gensweep.sweep.trial_state import TrialState as SweepTrial


def play(driver):
    """Three trials: one finished, one pruned, one failed; a fourth runs when the driver dies."""
    for number in range(4):
        tune_id = str(number)
        driver.begin(tune_id)
        driver.evaluate(100, 5.0 - number, tune_id=tune_id)
    driver.evaluate(400, 4.5, tune_id="0")
    driver.end("0", finished=True)
    driver.end("1")
    driver.end("2", failure="ValueError: no")


def told(trials):
    """All that a sampler looks at; of a trial that runs that is where it is."""
    return [
        (t.number, t.state, t.params, t.distributions, t.last_step if t.state == TrialState.PRUNED else None, t.values)
        for t in trials
    ]


def test_a_later_session_begins_with_the_same_study(tmp_path):
    driver = Driver(tmp_path, trials=6)
    play(driver)
    later = Driver(tmp_path, trials=6)
    assert told(later.told) == told(driver.told)
    assert [each.state.name for each in later.told] == ["COMPLETE", "COMPLETE", "FAIL", "RUNNING"]
    assert [each.values for each in later.told] == [[4.5], [4.0], None, None]
    assert later.begin("again").trial == "t0003"
    assert later.begin("new").trial == "t0004"


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_stopped_trial_counts_with_its_best_score(tmp_path, mode):
    driver, sign = Driver(tmp_path, mode=mode), 1 if mode == "min" else -1
    for number, values in enumerate([(3.0, 2.0, 5.0), (4.0,)]):
        driver.begin(str(number))
        for rung, value in enumerate(values, 1):
            driver.evaluate(100 * rung, sign * value, tune_id=str(number))
        driver.end(str(number))
    assert [(each.state, each.value) for each in driver.told] == [(TrialState.COMPLETE, sign * v) for v in (2.0, 4.0)]
    later = Driver(tmp_path, mode=mode)
    assert told(later.told) == told(driver.told)


def test_studies_are_minimised_or_maximised_by_the_mode(tmp_path):
    assert Driver(tmp_path, mode="max").session.study.directions == ["MAXIMIZE"]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_a_long_search_the_sampler_remembers_the_best_and_the_newest(tmp_path, monkeypatch, mode):
    monkeypatch.setitem(study.REMEMBERED, "tpe", 10)
    driver = Driver(tmp_path, trials=60, mode=mode)
    driver.begin("runs")
    for number in range(1, 41):
        driver.begin(str(number))
        driver.evaluate(400, abs(number - 5.5), tune_id=str(number))
        driver.end(str(number), finished=True)
        assert len(driver.told) <= 21  # one more draw, and the one that runs
    known = {each.params["x"] for each in driver.told}
    scores = {trial.trial: trial.params["x"] for trial in driver.state.searched}
    best = ["t0005", "t0006"] if mode == "min" else ["t0039", "t0040"]
    assert {scores[name] for name in (*best, "t0000", "t0038", "t0039", "t0040")} <= known
    assert scores["t0012"] not in known
    driver.evaluate(400, 0.1 if mode == "min" else 99.0, tune_id="runs")
    driver.end("runs", finished=True)
    ended = [each for each in driver.told if each.params["x"] == scores["t0000"]]
    assert [each.state for each in ended] == [TrialState.COMPLETE]
    assert driver.begin("next").trial == "t0041"


def test_a_study_is_not_made_anew_at_each_draw_where_much_is_known_from_other_sweeps(tmp_path, monkeypatch):
    monkeypatch.setitem(study.REMEMBERED, "tpe", 3)
    known = [{"params": {"x": n / 10}, "finished": True, "rungs": [(400, float(n))]} for n in range(9)]
    driver = Driver(tmp_path, trials=20, warm_starts=(WarmStarted("other", known=known),))
    made = []
    for number in range(12):
        driver.begin(str(number))
        made.append(id(driver.session.study._study))
        driver.evaluate(400, 1.0, tune_id=str(number))
        driver.end(str(number), finished=True)
    changes = [number for number in range(1, 12) if made[number] != made[number - 1]]
    assert changes == [6, 9]


def test_a_later_session_of_cma_es_takes_no_old_trial_for_one_of_its_own_generations(tmp_path):
    settings = {
        "search": {"sampler": CmaEs()},
        "sample": lambda trial: {name: trial.suggest_float(name, 0, 1) for name in ("x", "y")},
    }
    driver = Driver(tmp_path, trials=40, **settings)
    for _ in range(12):
        trial = driver.begin()
        driver.evaluate(400, trial.config["x"])
        driver.end(finished=True)
    assert any("cma:generation" in each.system_attrs for each in driver.told)
    later = Driver(tmp_path, trials=40, **settings)
    assert not any(each.system_attrs for each in later.told)
    assert later.begin().trial == "t0012"


def test_a_clone_that_has_no_score_left_is_one_that_runs():
    """It waited with a score of weights that it gave up, for a checkpoint before any of its own."""
    clone = SweepTrial("t0000", 0, "fd", {}, {}, {}, status="paused", has_waited=True)
    assert study.heard(clone) == (TrialState.RUNNING, None)
