"""The driver's session, fed by hand: no Ray, no processes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from logged import evaluation
from optuna.trial import TrialState
from session_driver import Driver
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError, GensweepError
from gensweep.search.session import Session
from gensweep.search.sweep_plan import InitialCheckpoint, SweepResult
from gensweep.sweep.events import Evaluated, Noted, Progressed, SessionEnded, Started, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.storage import HeldStorage


def test_patience_counts_evaluations_since_the_best_over_sessions(tmp_path):
    patience = {"search": {"patience": 2}}
    driver = Driver(tmp_path, **patience)
    driver.begin()
    for images, value in ((100, 5.0), (200, 2.0), (300, 7.0)):
        assert not driver.evaluate(images, value)
    driver.session.note(SessionEnded("interrupted"))
    later = Driver(tmp_path, **patience)
    later.begin()
    assert not later.evaluate(300, 7.0)  # what a restart does again does not count
    assert later.evaluate(400, 3.0)
    later.end()
    assert later.folder.state().trials["t0000"].status == "finished"


def test_queued_trials_come_first_over_sessions(tmp_path):
    queued = {"queue": ({"x": 0.5}, {"x": -0.25}, {}), "trials": 5}
    driver = Driver(tmp_path, **queued)
    assert driver.begin("0").params["x"] == 0.5
    driver.end("0", failure="ValueError: no")
    later = Driver(tmp_path, **queued)
    assert later.begin("1").params["x"] == -0.25
    later.begin("2")
    later.begin("3")
    assert len({trial.params["x"] for trial in later.state.searched} - {0.5, -0.25}) == 2


def test_the_objective_is_the_best_checkpoint_and_optuna_is_told_so(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    for images, value in ((100, 5.0), (200, 2.0), (300, 7.0), (400, 6.0)):
        driver.evaluate(images, value)
    assert driver.kept() == [200, 300, 400]  # the best and the last two
    driver.end(finished=True)
    trial = driver.folder.state().trials["t0000"]
    assert (trial.status, trial.score.value, trial.best.checkpoint) == ("finished", 2.0, "t0000/000000000200")
    assert driver.kept() == [200]
    (told,) = driver.told
    assert (told.state, told.value) == (TrialState.COMPLETE, 2.0)


def test_what_went_wrong_is_written_down_and_told_without_secrets(tmp_path, monkeypatch):
    secret = "q9Zk3vB7xW2mN8pL"
    monkeypatch.setenv("HF_TOKEN", secret)
    error = f"HTTPError: 401 for https://hub/x?page=2 with {secret}"

    def configure(overrides):
        if overrides["number"] == 2:
            raise ConfigError(error)
        return dict(overrides)

    driver = Driver(tmp_path, trials=3, configure=configure)
    trial = driver.begin().trial
    driver.session.lost(trial, error, f"Traceback: {error}")
    driver.session.reported(Noted(trial, error))
    driver.session.note(Started(trial))
    driver.end(failure=error, details=f"Traceback: {error}")
    driver.begin("y")
    driver.session.ended("t0001", {"failure": error})
    assert driver.session.next_trial() is None
    driver.session.note(SessionEnded("failed", error))
    told = error.replace(secret, "***")
    assert [trial.error.partition(";")[0] for trial in driver.state.failed] == [told] * 3
    assert driver.state.error == told
    assert driver.folder.state().trials["t0002"].error == told
    assert secret not in str(driver.memory.events)
    files = [file for file in driver.folder.path.rglob("*") if file.is_file()]
    assert {"events.jsonl", "t0000.log", "t0001.log"} <= {file.name for file in files}
    assert [file for file in files if secret.encode() in file.read_bytes()] == []


def test_a_trial_that_never_reports_the_metric_fails(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.progress(400, loss=1.0)
    driver.end(finished=True)
    assert driver.state.trials["t0000"].error == "it ended without reporting fd"


def test_interrupted_trials_come_first_in_the_next_session(tmp_path):
    driver = Driver(tmp_path, trials=3)
    driver.begin()
    driver.evaluate(100, 4.0)
    driver.evaluate(200, 5.0)
    driver.session.note(SessionEnded("interrupted"))
    assert driver.state.trials["t0000"].status == "stopped"
    assert driver.told[0].state == TrialState.RUNNING
    later = Driver(tmp_path, trials=3)
    assert later.state.left == 3
    asked = later.begin()
    assert asked.trial == "t0000"
    assert [Path(p).name for p in asked.checkpoints] == ["000000000200", "000000000100"]
    later.evaluate(300, 6.0)
    assert later.state.trials["t0000"].score.value == 4.0
    assert later.begin("y").trial == "t0001"


def test_what_a_restart_does_again_is_noted_once(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.progress(50, loss=1.0)
    driver.evaluate(100, 4.0)
    driver.progress(150, loss=1.0)
    driver.session.note(Started("t0000"))  # lost, and again from image 100
    driver.evaluate(100, 4.0)
    driver.progress(150, loss=1.0)
    driver.evaluate(200, 3.0)
    assert [e.images for e in driver.memory.of(Progressed)] == [50, 150]
    assert [e.evaluation.images for e in driver.memory.of(Evaluated)] == [100, 200]
    assert len(driver.memory.of(Started)) == 2
    assert driver.state.trials["t0000"].rungs == [(100, 4.0), (200, 3.0)]


def test_a_configuration_that_is_not_valid_fails_its_trial_only(tmp_path):
    def sample(trial):
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 0:
            raise ConfigError("training.batch_size: 3 is odd")
        return {"x": x}

    driver = Driver(tmp_path, trials=2, sample=sample)
    assert driver.begin().trial == "t0001"
    assert driver.session.next_trial() is None
    assert driver.state.trials["t0000"].error == "training.batch_size: 3 is odd"
    assert driver.told[0].state == TrialState.FAIL
    assert [t.params for t in Driver(tmp_path, trials=2, sample=sample).told] == [t.params for t in driver.told]


def test_an_observer_that_raises_does_not_disturb_the_others(tmp_path, caplog):
    def broken(event, state):
        raise RuntimeError("broken")

    memory = Memory()
    driver = Driver(tmp_path, observers=[broken, memory])
    driver.begin()
    driver.session.note(SessionEnded("interrupted"))
    assert [type(event) for event in memory.events][-3:] == [Suggested, Started, SessionEnded]
    assert "observer function failed" in caplog.text


def test_what_would_befall_every_trial_ends_the_sweep_and_no_trial(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.end(sweep_failure="the storage cannot be used")
    assert str(driver.session.problem) == "the storage cannot be used"
    driver.session.note(SessionEnded("failed"))
    assert driver.state.trials["t0000"].status == "stopped"
    assert Driver(tmp_path).begin().trial == "t0000"


def test_a_checkpoint_the_driver_cannot_see_ends_the_sweep(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    unseen = Evaluated("t0000", evaluation(100, 1.0), str(tmp_path / "nowhere"))
    with pytest.raises(GensweepError, match="--storage"):
        driver.session.reported(unseen)
    driver.end(failure="Tune takes it for a failure of the trial")
    assert "--storage" in str(driver.session.problem)
    assert driver.state.trials["t0000"].status == "running"


def test_a_loss_of_all_processes_counts_for_the_guilty_trial_alone(tmp_path):
    driver = Driver(tmp_path, trials=3, resources=Resources(retries=1))
    for tune_id in ("x", "y"):
        driver.begin(tune_id)
        driver.evaluate(100, 4.0, tune_id=tune_id)
    driver.session.lost("t0000", "worker lost", "")
    driver.session.lost("t0001", "worker lost", "")
    driver.session.requeue_all("out of memory", "what Tune said", {"t0000": "took the most memory"})
    assert [t.status for t in driver.state.trials.values()] == ["failed", "waiting"]
    assert [driver.begin(tune_id).trial for tune_id in ("x", "y")] == ["t0001", "t0002"]


def interrupted(root, **settings):
    """A session after one that was interrupted while t0000 and t0001 ran, and what it hands out first."""
    driver = Driver(root, trials=2, **settings)
    for tune_id in ("x", "y"):
        driver.begin(tune_id)
        driver.evaluate(100, 4.0, tune_id=tune_id)
    driver.session.note(SessionEnded("interrupted"))
    later = Driver(root, trials=2, **settings)
    return later, later.session.next_trial()


def test_the_last_words_of_a_sweep_follow_its_trials(tmp_path):
    driver = Driver(tmp_path)
    for tune_id, value in (("x", 3.0), ("y", 2.0)):
        driver.begin(tune_id)
        driver.evaluate(400, value, tune_id=tune_id)
    driver.end("x", finished=True)
    driver.end("y", failure="ValueError: no")
    result = SweepResult(tmp_path / "a", driver.state)
    codes = {}
    for status in ("interrupted", "failed", "finished"):
        driver.session.note(SessionEnded(status))
        codes[status] = result.exit_code
    assert codes == {"interrupted": 130, "failed": 1, "finished": 3}
    assert result.state.best.trial == "t0000"  # a trial that failed is not ranked
    assert [t.trial for t in result.state.failed] == ["t0001"]


def test_the_first_trial_resumes_from_the_given_checkpoint(tmp_path):
    """Also if the driver dies before the trial is sampled."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "state").write_text("weights")
    folder = SweepFolder(tmp_path, "a")
    earlier = [evaluation(images, value).as_dict() for images, value in ((300, 3.0), (500, 2.0))]
    start = InitialCheckpoint("old/t0003", 500, str(tmp_path / "old"), earlier)
    folder.create({"sweep": {}, "start": asdict(start)})
    held = HeldStorage(str(folder.path), None, "id")
    Session(plan("a", trials=1), folder, [], concurrent=1, storage=held)
    log = folder.log.file.read_bytes()
    folder.log.file.write_bytes(log[: log.index(b"\n") + 1])  # the first driver came no further than that
    assert folder.state().useful_checkpoints == {"t0000/000000000500"}
    later = Driver(tmp_path, trials=1)  # which does not know of it
    trial = later.begin()
    assert (trial.images, trial.resumes_at, later.state.created.start["run"]) == (500, 500, "old/t0003")
    assert trial.curve == {300: 3.0, 500: 2.0}
    (checkpoint,) = later.session.checkpoints_of("t0000")
    assert (folder.path / "checkpoints" / checkpoint / "state").read_text() == "weights"
    later.evaluate(600, 1.0)
    later.end(finished=True)
    assert later.state.trials["t0000"].status == "finished"
    assert not Path(checkpoint).exists()
    assert (tmp_path / "old" / "state").exists()


def test_trials_that_are_due_later_run_while_others_still_train(tmp_path):
    """The search asks for one trial; with each end another training is due, up to two."""

    def due(state):
        number = 1 + sum(trial.ended for trial in state.trials.values())
        names = [f"t0000-s{n}" for n in range(1, min(number, 3)) if f"t0000-s{n}" not in state.trials]
        return [Suggested(name, 0, {}, {}, {}, repeat_of="t0000") for name in names]

    driver = Driver(tmp_path, trials=1, due=due)
    for name in ("t0000", "t0000-s1", "t0000-s2"):
        assert driver.begin().trial == name
        assert driver.session.next_trial() is None
        assert driver.session.waits
        driver.evaluate(400, 1.0)
        driver.end(finished=True)
    assert driver.session.next_trial() is None
    assert not driver.session.waits
