"""Failed trials that run again: which, from where, with what, and what everybody sees of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState
from session_driver import Driver

from gensweep.config import SweepConfig, load_sweep
from gensweep.errors import ConfigError
from gensweep.search.reruns import FREE_SETTINGS, Retry, with_changes
from gensweep.sweep.events import Retried, SessionEnded


def ended(root):
    """A session that has ended: t0000 finished, t0001 and t0002 failed, t0003 stopped."""
    driver = Driver(root, trials=4)
    for number in range(4):
        driver.begin()
        for images, value in ((100, 5.0), (200, 6.0), (300, 7.0)):
            driver.evaluate(images, value - number)
        if number < 3:
            driver.end(**({"failure": "ValueError: no"} if number else {"finished": True}))
    driver.session.note(SessionEnded("interrupted"))
    return driver


def test_failed_trials_resume_from_their_last_checkpoint(tmp_path):
    ended(tmp_path)
    driver = Driver(tmp_path, trials=4, retry=Retry())
    assert [event.trial for event in driver.memory.of(Retried)] == ["t0001", "t0002"]
    begun = [driver.begin(str(number)) for number in range(3)]
    assert [trial.trial for trial in begun] == ["t0001", "t0002", "t0003"]
    assert begun[0].checkpoints == ("t0001/000000000300", "t0001/000000000200")
    assert all((tmp_path / "a" / "checkpoints" / name).is_dir() for trial in begun for name in trial.checkpoints)


def test_a_retried_trial_that_finishes_counts_as_finished(tmp_path):
    ended(tmp_path)
    driver = Driver(tmp_path, trials=4, retry=Retry(("t0002",)))
    driver.begin()
    driver.evaluate(400, 0.5)
    driver.end(finished=True)
    state = driver.folder.state()
    assert [trial.status for trial in state.trials.values()] == ["finished", "failed", "finished", "stopped"]
    assert state.trials["t0002"].error is None
    assert state.best.trial == "t0002"
    assert [trial.state for trial in driver.told] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    assert driver.told[2].value == 0.5


def test_changed_settings_hold_for_unfinished_trials_only(tmp_path):
    ended(tmp_path)
    driver = Driver(tmp_path, trials=4, retry=Retry(("t0001",), {"evaluation.batch_size": 7}))
    changed = [t.trial for t in driver.state.trials.values() if t.config.get("evaluation") == {"batch_size": 7}]
    assert changed == ["t0001", "t0003"]
    assert [t.status for t in driver.state.trials.values()] == ["finished", "waiting", "failed", "stopped"]
    assert [driver.begin(tune_id).trial for tune_id in ("x", "y")] == ["t0001", "t0003"]


@pytest.fixture(scope="module")
def sweep() -> SweepConfig:
    return load_sweep(Path(__file__).parents[2] / "search_spaces" / "ddpm.yaml")


def test_only_settings_that_change_no_score_can_be_changed(sweep):
    changed, of_trials = with_changes(sweep, {"resources.retries": 9, "evaluation.batch_size": 8, "keep_best": 1})
    assert (changed.resources.retries, changed.keep_best) == (9, 1)
    assert of_trials == {"evaluation.batch_size": 8}
    assert changed.trial().flat()["evaluation.batch_size"] == 8
    searched = next(node.key for node in sweep.nodes())
    with pytest.raises(ConfigError) as refused:
        with_changes(sweep, {"training.precision": "float32", searched: 1, "search.trials": 3})
    assert len(refused.value.problems) == 3
    assert f"{searched}: is a search parameter" in str(refused.value)
    for key in FREE_SETTINGS:
        assert key in str(refused.value)
