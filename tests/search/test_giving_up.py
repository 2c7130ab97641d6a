"""When a trial has failed too often, and when a sweep stops by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState
from session_driver import Driver

from gensweep.config.sweep_config import Resources
from gensweep.errors import GensweepError
from gensweep.search import schedulers
from gensweep.sweep.events import SessionEnded


@pytest.mark.parametrize("retries", [0, 2])
def test_a_trial_ends_once_it_failed_more_often_in_a_row_than_it_may(tmp_path, retries):
    driver = Driver(tmp_path, resources=Resources(retries=retries))
    driver.begin()
    for number in range(retries):  # the log refuses equal lines
        assert not driver.session.lost("t0000", f"worker lost {number}", "")
    driver.evaluate(100, 4.0)
    assert not driver.session.lost("t0000", "worker lost", "", counts=False)  # a node died
    for number in range(retries):
        assert not driver.session.lost("t0000", f"worker gone {number}", "")
    assert driver.session.lost("t0000", "worker lost (out of memory)", "what Ray said")
    driver.end()
    trial = driver.folder.state().trials["t0000"]
    assert trial.status == "failed"
    times = f"the last of {retries + 1} failures in a row without a new checkpoint; " if retries else ""
    assert trial.error == f"worker lost (out of memory) ({times}log: {trial.log})"
    assert "what Ray said" in Path(trial.log).read_text()
    assert driver.kept() == [100]
    assert driver.told[0].state == TrialState.FAIL


def fail_outside(driver, tune_id="x"):
    driver.begin(tune_id)
    for cause in ("OSError: no route", "OSError: no route to the storage"):  # the log refuses equal lines
        ends = driver.session.lost(driver.names[tune_id], cause, "")
    assert ends
    driver.end(tune_id)


def test_consecutive_infrastructure_errors_end_the_session(tmp_path):
    settings = {"trials": 9, "resources": Resources(retries=1, stop_after_failed=2)}
    driver = Driver(tmp_path, **settings)
    fail_outside(driver)
    driver.begin("y")
    driver.end("y", failure="ValueError: its own")
    fail_outside(driver)
    assert driver.session.stop_reason is None
    fail_outside(driver)
    assert (
        "2 consecutive trials failed because of infrastructure errors (the last one, t0003: OSError"
        in driver.session.stop_reason
    )
    assert driver.session.next_trial() is None
    driver.session.note(SessionEnded("failed", driver.session.stop_reason))
    later = Driver(tmp_path, **settings)
    assert later.session.stop_reason is None
    assert later.begin().trial == "t0004"


def test_trials_that_cannot_start_are_logged_and_stop_the_sweep(tmp_path):
    problem = GensweepError("cifar10 is not there; run: gensweep data fetch cifar10")

    def sample(trial):
        raise problem

    driver = Driver(tmp_path, trials=9, sample=sample)
    assert driver.session.next_trial() is None
    assert driver.session.stop_reason
    trials = driver.folder.state().trials.values()
    assert len(trials) == 3
    assert {(t.status, t.error) for t in trials} == {("failed", str(problem))}
    assert [t.state for t in driver.told] == [TrialState.FAIL] * 3


def test_consecutive_failures_stop_sampling_in_this_session(tmp_path, monkeypatch):
    monkeypatch.setattr(schedulers, "MAX_FAILURES_IN_A_ROW", 4)
    driver = Driver(tmp_path, trials=50)
    driver.begin("good")
    for _ in range(4):
        driver.begin()
        driver.end(failure="ValueError: no kernel")
    assert driver.session.next_trial() is None
    assert driver.session.stop_reason is None  # one trial trains
    driver.evaluate(400, 1.0, tune_id="good")
    driver.session.lost("t0000", "worker lost", "")
    driver.session.note(SessionEnded("failed", "interrupted"))
    later = Driver(tmp_path, trials=50)
    assert later.begin("good").trial == "t0000"
    for _ in range(4):
        later.begin()
        later.end(failure="ValueError: no kernel")
    later.end("good", failure="ValueError: no kernel")
    assert later.session.next_trial() is None
    assert "5 consecutive trials failed (the last one, t0" in later.session.stop_reason
    assert Driver(tmp_path, trials=50).session.next_trial() is not None
