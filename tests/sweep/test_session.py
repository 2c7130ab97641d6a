"""The driver's session, fed by hand: no Ray, no processes."""

from __future__ import annotations

import errno
import sqlite3
import threading
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from logged import IDENTITY, evaluation
from optuna.trial import TrialState
from ray.tune.execution import class_cache
from session_driver import Driver
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep import run, study
from gensweep.sweep.events import Ended, Evaluated, Progressed, SessionEnded, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.node_types import ClusterNodes
from gensweep.sweep.sweep_plan import SweepResult


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


def test_queued_trials_come_first_and_a_later_session_goes_on_behind_those_that_were_drawn(tmp_path):
    queued = {"queue": ({"x": 0.5}, {"x": -0.25}, {}), "trials": 5}
    driver = Driver(tmp_path, **queued)
    assert driver.begin("0").params["x"] == 0.5
    driver.end("0", failure="ValueError: no")
    driver.session.study.enqueue_trial({"x": -0.25})  # the driver dies before it asks
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
    assert (trial.status, trial.objective.value, Path(trial.best.uri).name) == ("finished", 2.0, "000000000200")
    assert driver.kept() == [200]
    (told,) = driver.told
    assert (told.state, told.value) == (TrialState.COMPLETE, 2.0)
    assert told.intermediate_values == {100: 5.0, 200: 2.0, 300: 2.0, 400: 2.0}


def test_a_trial_that_is_stopped_below_its_budget_is_pruned_and_at_it_finished(tmp_path):
    driver = Driver(tmp_path)
    for tune_id, images in (("x", 300), ("y", 400)):
        driver.begin(tune_id)
        driver.evaluate(images, 1.0, tune_id=tune_id)
        driver.end(tune_id)
    assert [t.state for t in driver.told] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert [e.status for e in driver.memory.of(Ended)] == ["pruned", "finished"]


def test_a_failed_trial_tells_cause_and_log_and_keeps_its_score(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.evaluate(100, 4.0)
    driver.end(failure="ValueError: no", details="the traceback")
    trial = driver.folder.state().trials["t0000"]
    assert trial.error == f"ValueError: no; log: {trial.log}"
    assert "the traceback" in Path(trial.log).read_text()
    assert trial.objective.value == 4.0
    assert driver.told[0].state == TrialState.FAIL


def test_a_trial_that_never_reports_the_metric_fails(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.progress(400, loss=1.0)
    driver.end(finished=True)
    assert driver.state.trials["t0000"].error == "it ended without reporting fd"


def test_trials_that_run_at_an_interrupt_are_stopped_and_come_first_in_the_next_session(tmp_path):
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
    assert later.state.trials["t0000"].objective.value == 4.0
    assert later.begin("y").trial == "t0001"


def test_a_lost_driver_is_noted_by_the_next_one(tmp_path):
    Driver(tmp_path).begin()
    later = Driver(tmp_path)
    assert [e.status for e in later.memory.of(SessionEnded)] == ["interrupted"]
    assert later.state.trials["t0000"].status == "stopped"


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


def test_a_loss_and_a_score_of_the_same_image_are_both_noted(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.progress(100, loss=1.0)
    driver.evaluate(100, 4.0)
    assert [type(e) for e in driver.memory.events[-2:]] == [Progressed, Evaluated]


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
    driver.folder.optuna.unlink()
    assert [t.params for t in Driver(tmp_path, trials=2, sample=sample).told] == [t.params for t in driver.told]


def test_an_observer_that_raises_does_not_disturb_the_others(tmp_path, caplog):
    def broken(event, state):
        raise RuntimeError("broken")

    memory = Memory()
    driver = Driver(tmp_path, observers=[broken, memory])
    driver.begin()
    driver.session.note(SessionEnded("interrupted"))
    assert [event.kind for event in memory.events][-3:] == ["suggested", "started", "session_ended"]
    assert "observer function failed" in caplog.text


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
    return [(t.number, t.state, t.params, t.distributions, t.intermediate_values, t.values) for t in trials]


@pytest.mark.trains
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "flipped", "of another sweep", "behind", "ahead"])
@pytest.mark.parametrize("folder", ["plain", "50% of? it's 'ü' #1"])
def test_optunas_study_is_a_view_that_is_made_anew(tmp_path, damage, folder):
    root = tmp_path / folder
    undamaged = Driver(root, trials=6)
    play(undamaged)
    expected = told(undamaged.told)
    file = undamaged.folder.optuna
    assert file.is_file()
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "garbage":
            file.write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
        case "flipped":
            content = bytearray(file.read_bytes())
            content[4096:12288] = bytes(8192)
            file.write_bytes(content)
        case "of another sweep":
            other = Driver(tmp_path / "other", trials=6)
            other.begin()
            file.write_bytes(other.folder.optuna.read_bytes())
        case "behind":
            other = Driver(tmp_path / "other", trials=6)
            file.write_bytes(other.folder.optuna.read_bytes())
        case "ahead":
            undamaged.session.study.ask()
    later = Driver(root, trials=6)
    assert told(later.told) == expected
    assert later.begin("again").trial == "t0003"
    assert later.begin("new").trial == "t0004"


def test_a_study_that_another_process_has_locked_is_an_error_and_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "LOCK_TIMEOUT", 0.1)
    driver = Driver(tmp_path)
    driver.begin()
    with closing(sqlite3.connect(driver.folder.optuna)) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = driver.folder.optuna.read_bytes()
        with pytest.raises(GensweepError, match=r"optuna.db cannot be used \(database is locked\).*tune --resume a"):
            Driver(tmp_path)
        with pytest.raises(GensweepError, match="database is locked"):
            driver.begin("y")
        assert driver.folder.optuna.read_bytes() == before
    assert Driver(tmp_path).begin().trial == "t0000"


def begin_until_it_is_full(driver):
    for number in range(1000):
        driver.begin(str(number))


def test_a_full_disk_is_an_error_and_the_sweep_goes_on_once_there_is_room(tmp_path, monkeypatch):
    driver = Driver(tmp_path, trials=1000)
    pages = driver.folder.optuna.stat().st_size // 4096

    def connect(*args, **kwargs):
        connection = sqlite3.connect(*args, **kwargs)
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    with monkeypatch.context() as full:
        full.setattr(study, "sqlite3", SimpleNamespace(**{**vars(sqlite3), "connect": connect}))
        with pytest.raises(GensweepError, match=r"optuna.db cannot be used \(database or disk is full\); make room"):
            begin_until_it_is_full(driver)
    assert Driver(tmp_path, trials=1000).begin().trial == "t0000"


def test_a_problem_at_the_end_of_a_trial_ends_the_sweep(tmp_path, monkeypatch):
    from gensweep.sweep.search import SessionStopper

    driver = Driver(tmp_path)
    driver.begin()
    driver.evaluate(400, 1.0)
    stopper = SessionStopper(threading.Event(), driver.session, None, tmp_path / "leases", lambda: None)
    assert not stopper.stop_all()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(GensweepError, match="No space left"):
        driver.end(finished=True)  # Tune takes this for a failure of the trial
    with pytest.raises(GensweepError, match="No space left"):
        stopper.stop_all()


def test_what_would_befall_every_trial_ends_the_sweep_and_no_trial(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.end(sweep_failure="the storage cannot be used")
    assert str(driver.session.problem) == "the storage cannot be used"
    driver.session.note(SessionEnded("failed"))
    assert driver.state.trials["t0000"].status == "stopped"
    assert Driver(tmp_path).begin().trial == "t0000"


def test_a_checkpoint_that_the_driver_does_not_see_ends_the_sweep_and_says_what_to_give(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    unseen = Evaluated("t0000", evaluation(100, 1.0), str(tmp_path / "nowhere"))
    with pytest.raises(GensweepError, match="--storage"):
        driver.session.reported(unseen)
    driver.end(failure="Tune takes it for a failure of the trial")
    assert "--storage" in str(driver.session.problem)
    assert driver.state.trials["t0000"].status == "running"


@pytest.fixture
def broken_down(tmp_path, monkeypatch):
    """What a sweep says of a problem that its loop raised, and its folder."""
    monkeypatch.setattr(run, "connected", nullcontext)
    monkeypatch.setattr(run, "is_local", lambda: True)  # though another test may have connected to Ray
    monkeypatch.setattr("gensweep.sweep.capacity.cluster_nodes", lambda: ClusterNodes([{"CPU": 1}]))
    monkeypatch.setattr("gensweep.sweep.hosts.check_hosts", lambda *_: None)

    def broken_down(problem):
        def broken(*_):
            raise problem

        monkeypatch.setattr(run, "_tune", broken)
        result = run.run_plan(plan(), root=tmp_path)
        folder = SweepFolder(tmp_path, "a")
        assert (result.state.status, result.exit_code, folder.state().error) == ("failed", 1, result.state.error)
        return result.state.error, folder.path

    return broken_down


def test_a_sweep_that_breaks_down_says_what_the_user_can_mend(broken_down):
    said, folder = broken_down(GensweepError("make room"))
    assert said == "make room"
    assert not (folder / "logs").exists()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (RuntimeError("not expected"), "RuntimeError: not expected"),
        (OSError(errno.ENOSPC, "full", "/some/file"), "no space is left for /some/file"),
    ],
)
def test_a_sweep_that_breaks_down_for_another_cause_names_a_file_with_the_traceback(broken_down, problem, words):
    said, folder = broken_down(problem)
    log = folder / "logs" / "driver.log"
    assert said.startswith(words)
    assert said.endswith(f"; traceback: {log}")
    assert "in broken" in log.read_text()


def test_keys_are_held_back_from_a_local_ray_and_from_no_later_one(broken_down, monkeypatch):
    handed_on, before, during = class_cache.ENV_VARS_TO_PROPAGATE, set(class_cache.ENV_VARS_TO_PROPAGATE), []
    monkeypatch.setattr("gensweep.sweep.hosts.check_hosts", lambda *_: during.append(set(handed_on)))
    broken_down(GensweepError("enough"))
    assert "AWS_SECRET_ACCESS_KEY" in before
    assert during == [{name for name in before if not name.startswith("AWS_")}]
    assert handed_on == before


def test_trials_that_lost_their_processes_all_at_once_come_first_again_unless_they_are_worn_out(tmp_path):
    driver = Driver(tmp_path, trials=3, resources=Resources(retries=1))
    for tune_id in ("x", "y"):
        driver.begin(tune_id)
        driver.evaluate(100, 4.0, tune_id=tune_id)
    driver.session.lost("t0000", "worker lost", "")
    driver.session.begin_again("the head was out of memory", "what Tune said")
    assert [t.status for t in driver.state.trials.values()] == ["failed", "waiting"]
    assert [driver.begin(tune_id).trial for tune_id in ("x", "y")] == ["t0001", "t0002"]


def test_more_trials_can_be_asked_for(tmp_path):
    driver = Driver(tmp_path, trials=1)
    driver.begin()
    driver.evaluate(400, 1.0)
    driver.end(finished=True)
    assert driver.session.next_trial() is None
    driver.session.note(SessionEnded("finished"))
    later = Driver(tmp_path, trials=1, more_trials=2)
    assert later.state.left == 2
    assert later.begin("y").trial == "t0001"
    assert later.state.trials["t0001"].params["x"] != later.state.trials["t0000"].params["x"]


def test_a_trial_whose_first_whole_score_comes_last_is_ranked_by_it(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.evaluate(100, 1.0, identity=replace(IDENTITY, samples=2))
    driver.evaluate(400, 9.0)
    driver.end(finished=True)
    assert driver.told[0].value == 9.0


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
    assert result.resume_command == f"gensweep tune --resume a --sweeps {tmp_path}"


def test_studies_are_minimised_or_maximised_by_the_mode(tmp_path):
    assert Driver(tmp_path, mode="max").session.study.direction == optuna.study.StudyDirection.MAXIMIZE
