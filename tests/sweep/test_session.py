"""The driver's session, fed by hand: no Ray, no processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from logged import IDENTITY, evaluation
from optuna.trial import TrialState
from trivial_sweeps import Memory, plan

from gensweep.errors import ConfigError
from gensweep.sweep.events import Ended, Evaluated, Progressed, SessionEnded, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.session import Session


class Driver:
    """A session and what is around it."""

    def __init__(self, root, *, trials=3, observers=None, more_trials=0, name="a", **settings):
        self.folder = SweepFolder(root, name)
        if not self.folder.exists:
            self.folder.create({})
        self.memory = Memory()
        made = plan(name, trials=trials, **settings)
        self.session = Session(made, self.folder, observers or [self.memory], more_trials=more_trials)
        self.session.open(1)
        self.mode = made.mode
        self.store = root / "store"

    @property
    def state(self):
        return self.session.state

    @property
    def told(self):
        """What Optuna's file says."""
        return self.session.study.trials

    def begin(self, tune_id="x"):
        asked = self.session.next_trial(tune_id)
        self.session.started(tune_id)
        return asked

    def progress(self, images, *, tune_id="x", **numbers):
        self.session.reported(tune_id, numbers, images, None)

    def evaluate(self, images, value, *, tune_id="x", identity=IDENTITY):
        """An evaluation, whose checkpoint really is on disk."""
        folder = self.store / self.session._trial_of[tune_id] / f"{images:012d}"
        folder.mkdir(parents=True, exist_ok=True)
        report = evaluation(images, value, identity=identity, mode=self.mode)
        self.session.reported(tune_id, report, images, str(folder))

    def end(self, tune_id="x", **result):
        self.session.ended(tune_id, result)

    def kept(self, trial="t0000"):
        return sorted(int(p.name) for p in (self.store / trial).iterdir())


def test_patience_counts_evaluations_since_the_best_over_sessions(tmp_path):
    driver = Driver(tmp_path, patience=2)
    driver.begin()
    for images, value in ((100, 5.0), (200, 2.0), (300, 7.0)):
        assert not driver.session.out_of_patience("x", evaluation(images, value))
        driver.evaluate(images, value)
    driver.session.close("interrupted")
    later = Driver(tmp_path, patience=2)
    later.begin()
    assert not later.session.out_of_patience("x", evaluation(300, 7.0))  # what a restart does again does not count
    assert not later.session.out_of_patience("x", evaluation(400, 1.0))
    assert later.session.out_of_patience("x", evaluation(400, 3.0))
    later.evaluate(400, 3.0)
    later.end()
    assert later.folder.state().trials["t0000"].status == "finished"


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
    driver.session.close("interrupted")
    assert driver.state.trials["t0000"].status == "stopped"
    assert driver.told[0].state == TrialState.RUNNING
    later = Driver(tmp_path, trials=3)
    assert later.state.left == 3
    asked = later.begin()
    assert asked["trial"] == "t0000"
    assert [Path(p).name for p in asked["checkpoints"]] == ["000000000200", "000000000100"]
    assert later.session.objective("x", evaluation(300, 6.0)) == 4.0
    assert later.begin("y")["trial"] == "t0001"


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
    driver.session.started("x")  # lost, and again from image 100
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
    assert driver.begin()["trial"] == "t0001"
    assert driver.session.next_trial("y") is None
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
    driver.session.close("interrupted")
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
    assert later.begin("again")["trial"] == "t0003"
    assert later.begin("new")["trial"] == "t0004"


def test_more_trials_can_be_asked_for(tmp_path):
    driver = Driver(tmp_path, trials=1)
    driver.begin()
    driver.evaluate(400, 1.0)
    driver.end(finished=True)
    assert driver.session.next_trial("y") is None
    driver.session.close("finished")
    later = Driver(tmp_path, trials=1, more_trials=2)
    assert later.state.left == 2
    assert later.begin("y")["trial"] == "t0001"
    assert later.state.trials["t0001"].params["x"] != later.state.trials["t0000"].params["x"]


def test_a_trial_whose_first_whole_score_comes_last_is_ranked_by_it(tmp_path):
    driver = Driver(tmp_path)
    driver.begin()
    driver.evaluate(100, 1.0, identity=replace(IDENTITY, samples=2))
    driver.evaluate(400, 9.0)
    driver.end(finished=True)
    assert driver.told[0].value == 9.0


def test_the_last_words_of_a_sweep_follow_its_trials(tmp_path):
    from gensweep.sweep.plan import SweepResult
    from gensweep.sweep.resources import Request, allot

    driver = Driver(tmp_path)
    for tune_id, value in (("x", 3.0), ("y", 2.0)):
        driver.begin(tune_id)
        driver.evaluate(400, value, tune_id=tune_id)
    driver.end("x", finished=True)
    driver.end("y", failure="ValueError: no")
    allotment = allot(Request(), [{"CPU": 1}])

    def result(status):
        return SweepResult(tmp_path / "a", status, driver.state, allotment)

    assert [result(status).exit_code for status in ("finished", "interrupted", "failed")] == [3, 130, 1]
    assert result("finished").state.best.trial == "t0000"  # a trial that failed is not ranked
    assert [t.trial for t in result("finished").state.failed] == ["t0001"]
    assert result("interrupted").resume_command == "gensweep tune --resume a"


def test_studies_are_minimised_or_maximised_by_the_mode(tmp_path):
    assert Driver(tmp_path, mode="max").session.study.direction == optuna.study.StudyDirection.MAXIMIZE
