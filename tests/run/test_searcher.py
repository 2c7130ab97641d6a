"""Which trials Tune gets, and when: as many as have a place; and how a sweep stops."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from ray.tune.search import Searcher
from trivial_sweeps import Memory, plan

from gensweep.run import tuning
from gensweep.run.tuning import SAVING_SECONDS, SessionSearcher, SessionStopper, Watch
from gensweep.search.session import Session
from gensweep.sweep.events import Ended, Lost, Progressed, Saved, Started, Stopping
from gensweep.sweep.folder import SweepFolder


class Places:
    """Stands in for the capacity of a cluster."""

    def __init__(self, trials):
        self.trials, self.looks = trials, []

    def update(self, running, pending, note):
        self.looks.append((running, pending))


class Tune:
    """Asks the searcher as Tune does."""

    def __init__(self, tmp_path, places, trials=4):
        self.places, self.stop = places, threading.Event()
        self.session = Session(plan(trials=trials), SweepFolder(tmp_path, "a"), [], concurrent=1)
        self.searcher = SessionSearcher(self.session, places, Watch(self.session, None), self.stop)

    def ask(self, id):
        found = self.searcher.suggest(id)
        if isinstance(found, dict):
            self.session.note(Started(found["trial"]))
            return found["trial"]
        return found

    def end(self, id, trial):
        self.session.note(Ended(trial, "finished"))
        self.searcher.on_trial_complete(id, {})


@pytest.fixture
def start(tmp_path):
    return lambda places, **settings: Tune(tmp_path, Places(places), **settings)


def test_as_many_trials_start_as_have_a_place_at_that_moment(start):
    tune = start(0)
    assert tune.ask("1") is None
    tune.places.trials = 2
    assert [tune.ask("1"), tune.ask("2"), tune.ask("3")] == ["t0000", "t0001", None]
    tune.places.trials = 3
    assert [tune.ask("3"), tune.ask("4")] == ["t0002", None]
    assert tune.places.looks == [(0, 4), (0, 4), (1, 3), (2, 2), (2, 2), (3, 1)]


def test_it_is_over_once_all_have_ended_though_all_nodes_have_left(start):
    tune = start(1, trials=1)
    tune.end("1", tune.ask("1"))
    tune.places.trials = 0
    assert tune.ask("2") == Searcher.FINISHED


def test_whoever_waits_for_nodes_can_be_interrupted(start):
    tune = start(0)
    tune.stop.set()
    assert tune.ask("1") == Searcher.FINISHED


class Bell:
    """Counts how often it rings; called as an actor."""

    def __init__(self):
        self.rung = 0
        self.ring = SimpleNamespace(remote=self._ring)

    def _ring(self):
        self.rung += 1


class Running:
    """A sweep of two trials that run, of which only t0000 has trained, and what stops it."""

    def __init__(self, tmp_path, monkeypatch):
        self.now, self.bell, self.memory, self.stop = 100.0, Bell(), Memory(), threading.Event()
        monkeypatch.setattr(tuning.time, "monotonic", lambda: self.now)
        self.killed = []
        monkeypatch.setattr(tuning, "own_node_id", lambda: "elsewhere")
        monkeypatch.setattr(tuning, "kill_process", lambda node, pid: self.killed.append((node, pid)))
        self.session = Session(plan(), SweepFolder(tmp_path, "a"), [self.memory], concurrent=2)
        self.stopper = SessionStopper(self.stop, self.session, Watch(self.session, 60.0), self.bell)
        for phase in ("training", "loading data"):
            trial = self.session.next_trial().trial
            assert not self.stopper("id", {"taken": trial, "node": "n", "pid": int(trial[1:]) + 1, "spoiled": False})
            self.tell(Started(trial), phase=phase)

    def tell(self, *events, phase=None):
        for event in events:
            news = {"trial": event.trial, "event": event, "phase": phase, "workers": ()}
            assert not self.stopper("id", news)

    def checkpoint(self, tmp_path, images):
        name = f"t0000/{images:012d}"
        (tmp_path / "a" / "checkpoints" / name).mkdir(parents=True)
        return Saved("t0000", images, name)


@pytest.fixture
def running(tmp_path, monkeypatch):
    return Running(tmp_path, monkeypatch)


def test_a_stopping_sweep_waits_for_checkpoints_of_trials_that_train(running, tmp_path):
    assert not running.stopper.stop_all()
    running.stop.set()
    assert not running.stopper.stop_all()
    running.tell(Progressed("t0000", 50, {}))
    assert not running.stopper.stop_all()
    assert running.bell.rung == 1
    assert [event.trials for event in running.memory.of(Stopping)] == [["t0000"]]
    running.tell(running.checkpoint(tmp_path, 60))
    assert running.stopper.stop_all()
    assert running.session.state.trials["t0000"].resumes_at == 60


def test_it_waits_no_longer_than_saving_may_take(running):
    running.stop.set()
    assert not running.stopper.stop_all()
    running.now += SAVING_SECONDS + 1
    assert running.stopper.stop_all()


def test_a_silent_trial_is_killed_and_its_neighbour_is_not(running):
    for _ in range(8):
        running.now += 9.0
        running.stopper("id", {"trial": "t0000", "event": None, "phase": "training", "workers": ()})
        running.stopper.stop_all()
    assert running.killed == [("n", 2)]
    (lost,) = running.memory.of(Lost)
    assert (lost.trial, lost.counts) == ("t0001", True)
    assert lost.cause == "no progress for 63 s while loading data (process 2)"


def test_a_driver_that_was_suspended_kills_no_trial(running):
    running.now += 3600.0
    running.stopper.stop_all()
    assert running.killed == []


def test_a_kill_for_memory_counts_for_the_trial_that_used_the_most(running):
    used = "node n\n(pid=1, actual memory used=0.50GB)\n(pid=7, actual memory used=2.00GB)"
    started = {"trial": "t0001", "event": Started("t0001"), "phase": None, "workers": (("n", 7), ("other", 1))}
    running.stopper("id", started)
    assert not running.stopper("id", {"lost": "t0000", "cause": "out of memory", "details": used, "counts": True})
    assert not running.stopper("id", {"lost": "t0001", "cause": "out of memory", "details": used, "counts": True})
    assert [(event.trial, event.counts) for event in running.memory.of(Lost)] == [("t0000", False), ("t0001", True)]
