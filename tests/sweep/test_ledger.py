"""The driver's book, fed by hand: no Ray, no processes."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from trivial_sweeps import Memory, plan

from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.ledger import Ledger


class Book:
    """A ledger and what is around it."""

    def __init__(self, root, *, trials=3, observers=None, study=None, **settings):
        self.plan = plan(trials=trials, **settings)
        self.folder = SweepFolder(root, "a")
        if not self.folder.exists:
            self.folder.create({})
        direction = {"min": "minimize", "max": "maximize"}[self.plan.mode]
        self.study = study or optuna.create_study(direction=direction)
        self.memory = Memory()
        self.ledger = Ledger(self.plan, self.folder, self.study, observers or [self.memory], trials)
        self.store = root / "store"

    def begin(self, tune_id="x"):
        asked = self.ledger.next_trial(tune_id)
        self.ledger.started(tune_id)
        return asked

    def report(self, images, value=None, *, tune_id="x", best=None, **metrics):
        """A report; with a value, of a checkpoint that really is on disk."""
        result = {"images": images, "report": {"images": images, **metrics}}
        if value is not None:
            place = self.store / self.ledger._by_tune_id[tune_id] / f"{images:012d}"
            place.mkdir(parents=True, exist_ok=True)
            result["report"] |= {"fd": value, "identities": {"fd": {"metric": "fd"}, "bpd": {"metric": "bpd"}}}
            result |= {"checkpoint": str(place), "objective": best if best is not None else value}
        self.ledger.reported(tune_id, result)

    def end(self, tune_id="x", **result):
        self.ledger.ended(tune_id, result)

    def kept(self, trial="t0000"):
        return sorted(int(p.name) for p in (self.store / trial).iterdir())


def test_patience_counts_evaluations_since_the_best_over_sessions(tmp_path):
    book = Book(tmp_path, patience=2)
    book.begin()
    for images, value, best in ((100, 5.0, 5.0), (200, 2.0, 2.0), (300, 7.0, 2.0)):
        assert not book.ledger.out_of_patience("x", images, best)
        book.report(images, value, best=best)
    later = Book(tmp_path, patience=2, study=book.study)
    later.begin()
    assert not later.ledger.out_of_patience("x", 300, 2.0)  # what a restart does again does not count
    assert not later.ledger.out_of_patience("x", 400, 1.0)
    assert later.ledger.out_of_patience("x", 400, 2.0)
    later.report(400, 3.0, best=2.0)
    later.end()
    assert later.folder.records()[0].status == "finished"


def test_the_objective_is_the_best_checkpoint_and_optuna_is_told_so(tmp_path):
    book = Book(tmp_path)
    book.begin()
    for images, value in ((100, 5.0), (200, 2.0), (300, 7.0), (400, 6.0)):
        book.report(images, value)
    assert book.kept() == [200, 300, 400]  # the best and the last two
    book.end(finished=True)
    (record,) = book.folder.records()
    assert (record.status, record.objective, Path(record.best.place).name) == ("finished", 2.0, "000000000200")
    assert book.kept() == [200]
    (told,) = book.study.trials
    assert (told.state, told.value) == (TrialState.COMPLETE, 2.0)
    assert told.intermediate_values == {100: 5.0, 200: 2.0, 300: 2.0, 400: 2.0}
    (end,) = book.memory.of("trial_ended")
    assert (end.objective, end.best.name, end.identity) == (2.0, "000000000200", {"metric": "fd"})


def test_a_maximised_metric_keeps_the_highest(tmp_path):
    book = Book(tmp_path, mode="max")
    book.begin()
    for images, value in ((100, 5.0), (200, 9.0), (300, 7.0)):
        book.report(images, value)
    book.end(finished=True)
    assert book.study.trials[0].value == 9.0


def test_a_trial_that_is_stopped_below_its_budget_is_pruned_and_at_it_finished(tmp_path):
    book = Book(tmp_path)
    for tune_id, images in (("x", 300), ("y", 400)):
        book.begin(tune_id)
        book.report(images, 1.0, tune_id=tune_id)
        book.end(tune_id)
    assert [t.state for t in book.study.trials] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert [e.status for e in book.memory.of("trial_ended")] == ["pruned", "finished"]


def test_a_failed_trial_tells_cause_and_log_and_keeps_its_score(tmp_path):
    book = Book(tmp_path)
    book.begin()
    book.report(100, 4.0)
    book.end(failure="ValueError: no", details="the traceback")
    (record,) = book.folder.records()
    assert record.error == f"ValueError: no; log: {record.log}"
    assert "the traceback" in Path(record.log).read_text()
    assert record.objective == 4.0
    assert book.study.trials[0].state == TrialState.FAIL


def test_a_trial_that_never_reports_the_metric_fails(tmp_path):
    book = Book(tmp_path)
    book.begin()
    book.report(400, loss=1.0)
    book.end(finished=True)
    assert book.folder.records()[0].error == "it ended without reporting fd"


def test_trials_that_run_at_an_interrupt_are_stopped_and_come_first_in_the_next_session(tmp_path):
    book = Book(tmp_path, trials=3)
    book.begin()
    book.report(100, 4.0)
    book.report(200, 5.0)
    book.ledger.close("interrupted")
    assert book.folder.records()[0].status == "stopped"
    assert book.study.trials[0].state == TrialState.RUNNING
    later = Book(tmp_path, trials=3, study=book.study)
    later.ledger.reconcile()
    assert later.ledger.left == 3
    asked = later.begin()
    assert asked["trial"] == "t0000"
    assert [Path(p).name for p in asked["resume"].checkpoints] == ["000000000200", "000000000100"]
    assert asked["resume"].best == 4.0
    assert later.memory.of("trial_started")[0].resumed
    assert later.begin("y")["trial"] == "t0001"


def test_what_a_restart_does_again_is_told_once(tmp_path):
    book = Book(tmp_path)
    book.begin()
    book.report(50, loss=1.0)
    book.report(100, 4.0)
    book.report(150, loss=1.0)
    book.ledger.started("x")  # lost, and again from image 100
    for images, value in ((100, 4.0), (150, None), (200, 3.0)):
        book.report(images, value)
    assert [r.images for r in book.memory.of("trial_reported")] == [50, 100, 150, 200]
    assert [s.resumed for s in book.memory.of("trial_started")] == [False, True]
    assert book.folder.records()[0].rungs == [(100, 4.0), (200, 3.0)]


def test_a_loss_and_a_score_of_the_same_image_are_both_told(tmp_path):
    book = Book(tmp_path)
    book.begin()
    book.report(100, loss=1.0)
    book.report(100, 4.0)
    assert [r.checkpoint is not None for r in book.memory.of("trial_reported")] == [False, True]


def test_a_configuration_that_is_not_valid_fails_its_trial_only(tmp_path):
    def sample(trial):
        if trial.number == 0:
            raise ConfigError("training.batch_size: 3 is odd")
        return {"x": trial.suggest_float("x", 0, 1)}

    book = Book(tmp_path, trials=2, sample=sample)
    assert book.begin()["trial"] == "t0001"
    assert book.ledger.next_trial("y") is None
    assert book.folder.records()[0].error == "training.batch_size: 3 is odd"
    assert book.study.trials[0].state == TrialState.FAIL


def test_an_observer_that_raises_does_not_disturb_the_others(tmp_path, caplog):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("broken")

    memory = Memory()
    book = Book(tmp_path, observers=[Broken(), memory])
    book.begin()
    book.ledger.close("interrupted")
    assert [name for name, _ in memory.calls] == ["trial_started", "trial_ended", "sweep_ended"]
    assert "observer Broken failed" in caplog.text


def test_an_end_that_optuna_was_not_told_is_told_again(tmp_path):
    book = Book(tmp_path)
    book.begin()
    book.report(100, 4.0)
    book.end(finished=True)
    fresh = optuna.create_study()
    fresh.ask()  # as after a crash between the file and Optuna: running, and nothing told
    fresh.ask()  # and one that never came to a file
    Book(tmp_path, study=fresh).ledger.reconcile()
    assert [t.state for t in fresh.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert fresh.trials[0].value == 4.0
    assert fresh.trials[0].intermediate_values == {100: 4.0}


def test_an_optuna_storage_that_lost_trials_is_refused(tmp_path):
    Book(tmp_path).begin()
    with pytest.raises(GensweepError, match=r"optuna\.db has 0 trials"):
        Book(tmp_path).ledger.reconcile()


def test_the_last_words_of_a_sweep_follow_its_trials(tmp_path):
    from gensweep.sweep.plan import SweepResult
    from gensweep.sweep.resources import Request, allot

    book = Book(tmp_path)
    for tune_id, value in (("x", 3.0), ("y", 2.0)):
        book.begin(tune_id)
        book.report(400, value, tune_id=tune_id)
    book.end("x", finished=True)
    book.end("y", failure="ValueError: no")
    records = tuple(book.ledger.records.values())
    allotment = allot(Request(), [{"CPU": 1}])

    def result(status):
        return SweepResult("a", tmp_path, status, records, "fd", "min", allotment)

    assert [result(status).exit_code for status in ("finished", "interrupted", "failed")] == [3, 130, 1]
    assert result("finished").best.trial == "t0001"
    assert [t.trial for t in result("finished").failed] == ["t0001"]
    assert result("interrupted").resume_command == "gensweep tune --resume a"
