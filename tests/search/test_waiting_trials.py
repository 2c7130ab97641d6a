"""Trials that asha lets wait, in the driver's session: over crashes, and as samplers hear of them."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState
from session_driver import Driver

from gensweep.config.objectives import Constraint
from gensweep.config.search_methods import AshaSettings

ASHA = {"search": {"scheduler": AshaSettings(reduction=2)}, "budget": 900, "grace": 100}


def test_a_paused_trial_stays_paused_if_the_driver_dies(tmp_path):
    driver = Driver(tmp_path, trials=4, **ASHA)
    for tune_id, value in (("first", 5.0), ("worse", 9.0), ("better", 1.0), ("good", 7.0)):
        driver.begin(tune_id)
        assert driver.evaluate(100, value, tune_id=tune_id) == (tune_id != "better")
    later = Driver(tmp_path, trials=4, **ASHA)
    assert [trial.status for trial in later.state.trials.values()] == ["paused", "paused", "stopped", "paused"]
    complete, running = TrialState.COMPLETE, TrialState.RUNNING
    told = [(each.state, each.values) for each in later.told]
    assert told == [(complete, [5.0]), (complete, [9.0]), (running, None), (complete, [7.0])]
    assert [later.begin(tune_id).trial for tune_id in ("interrupted", "promoted")] == ["t0002", "t0000"]


def test_a_crash_between_score_and_pause_leaves_no_paused_trial(tmp_path):
    driver = Driver(tmp_path, **ASHA)
    driver.begin()
    driver.evaluate(100, 5.0)
    driver.end()
    driver.begin()
    for images in (100, 900):
        driver.evaluate(images, 1.0)
    driver.end(finished=True)
    driver.begin()
    assert driver.evaluate(100, 9.0)
    later = Driver(tmp_path, **ASHA)
    assert [trial.status for trial in later.state.trials.values()] == ["pruned", "finished", "pruned"]
    assert later.session.next_trial() is None
    assert not later.session.waits


def test_a_sampler_knows_by_how_much_a_trial_that_waits_breaks_a_limit(tmp_path):
    limit = {"constraints": (Constraint(metric="images", max=150),), **ASHA}
    driver = Driver(tmp_path, **limit)
    for tune_id in ("a", "b"):
        driver.begin(tune_id)
        driver.evaluate(100, 5.0, tune_id=tune_id)
        driver.end(tune_id)
    driver.begin("a")
    driver.evaluate(300, 2.0, tune_id="a")
    for told in (driver.told, Driver(tmp_path, **limit).told):
        assert [each.constraints for each in told] == [{"images": 1.0}, {"images": pytest.approx(-1 / 3)}]


def test_a_pause_holds_if_the_process_is_lost_before_it_stops(tmp_path):
    driver = Driver(tmp_path, **ASHA)
    for tune_id, value in (("first", 5.0), ("worse", 9.0), ("worst", 10.0)):
        driver.begin(tune_id)
        driver.evaluate(100, value, tune_id=tune_id)
    driver.session.interrupted = True
    driver.end("worse")
    driver.session.requeue_all("out of memory", "what Tune said", {"t0000": "took the most memory"})
    assert [trial.status for trial in driver.state.trials.values()] == ["paused", "paused", "paused"]
    assert driver.begin("again").trial == "t0000"
