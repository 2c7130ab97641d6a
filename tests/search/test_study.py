"""Optuna's study of a sweep, as its sampler sees it, follows from the sweep's log."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState
from session_driver import Driver

from gensweep.search import samplers


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


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_a_long_search_the_sampler_remembers_the_best_and_the_newest(tmp_path, monkeypatch, mode):
    monkeypatch.setitem(samplers.MOST_KNOWN, "tpe_by_branch", 20)
    driver = Driver(tmp_path, trials=60, mode=mode)
    driver.begin("runs")
    for number in range(1, 41):
        driver.begin(str(number))
        driver.evaluate(400, abs(number - 5.5), tune_id=str(number))
        driver.end(str(number), finished=True)
        assert len(driver.told) <= 21
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
