"""Which trials Tune gets, and when: as many as have a place; and how a sweep stops."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from ray.tune.search import Searcher
from trivial_sweeps import Memory, plan

from gensweep.search.session import Session
from gensweep.sweep import search as module
from gensweep.sweep.events import Ended, Entered, Progressed, Saved, Started, Stopping
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.search import SAVING_SECONDS, SessionSearcher, SessionStopper


class Places:
    """Stands in for the capacity of a cluster."""

    def __init__(self, trials):
        self.trials, self.looks = trials, []

    def update(self, running, pending, note):
        self.looks.append((running, pending))


class Tune:
    """Asks the searcher as Tune does."""

    def __init__(self, tmp_path, monkeypatch, places, trials=4):
        self.places, self.stop, self.freed = places, threading.Event(), []
        self.session = Session(plan(trials=trials), SweepFolder(tmp_path, "a"), [], concurrent=1)
        self.searcher = SessionSearcher(self.session, places, self.stop)
        monkeypatch.setattr(module, "free_groups", self.freed.append)

    def ask(self, id):
        found = self.searcher.suggest(id)
        if isinstance(found, dict):
            self.session.note(Started(found["trial"]))
            return found["trial"]
        return found

    def end(self, id, trial):
        self.session.note(Ended(trial, "finished"))
        self.searcher.on_trial_complete(id, {"runner": f"runner of {trial}"})


@pytest.fixture
def start(tmp_path, monkeypatch):
    return lambda places, **settings: Tune(tmp_path, monkeypatch, Places(places), **settings)


def test_as_many_trials_start_as_have_a_place_at_that_moment(start):
    tune = start(0)
    assert tune.ask("1") is None
    tune.places.trials = 2
    assert [tune.ask("1"), tune.ask("2"), tune.ask("3")] == ["t0000", "t0001", None]
    tune.places.trials = 3
    assert [tune.ask("3"), tune.ask("4")] == ["t0002", None]
    assert tune.places.looks == [(0, 4), (0, 4), (1, 3), (2, 2), (2, 2), (3, 1)]


def test_workers_are_kept_for_the_next_trial_only_if_it_starts_now(start):
    tune = start(2, trials=3)
    first, second = tune.ask("1"), tune.ask("2")
    tune.end("1", first)
    assert tune.freed == []
    third = tune.ask("3")
    tune.places.trials = 1  # a node is lost: one of the two waits for workers
    tune.end("2", second)
    assert tune.freed == [["runner of t0001"]]
    tune.end("3", third)
    assert tune.freed == [["runner of t0001"], ["runner of t0002"]]


def test_it_is_over_once_all_have_ended_though_all_nodes_have_left(start):
    tune = start(1, trials=1)
    tune.end("1", tune.ask("1"))
    tune.places.trials = 0
    assert tune.ask("2") == Searcher.FINISHED


def test_whoever_waits_for_nodes_can_be_interrupted(start):
    tune = start(0)
    tune.stop.set()
    assert tune.ask("1") == Searcher.FINISHED


class Queue:
    """Notes what it is told; its methods are called as those of an actor."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda: self.told.append(name))


class Running:
    """A sweep of two trials that run, of which only t0000 has trained, and what stops it."""

    def __init__(self, tmp_path, monkeypatch):
        self.now, self.queue, self.memory, self.stop = 100.0, Queue(), Memory(), threading.Event()
        monkeypatch.setattr(module.ray, "get", lambda answer: answer)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(module, "free_dead", lambda leases: None)
        self.session = Session(plan(), SweepFolder(tmp_path, "a"), [self.memory], concurrent=2)
        self.stopper = SessionStopper(self.stop, self.session, self.queue, tmp_path, lambda: None)
        for phase in ("training", "loading data"):
            trial = self.session.next_trial().trial
            self.tell(Started(trial), Entered(trial, phase))

    def tell(self, *events):
        for event in events:
            assert not self.stopper("id", {"event": event})

    def checkpoint(self, tmp_path, images):
        (tmp_path / str(images)).mkdir()
        return Saved("t0000", images, str(tmp_path / str(images)))


@pytest.fixture
def running(tmp_path, monkeypatch):
    return Running(tmp_path, monkeypatch)


def test_a_sweep_that_is_to_stop_waits_for_the_checkpoints_of_trials_that_train(running, tmp_path):
    assert not running.stopper.stop_all()
    running.stop.set()
    assert not running.stopper.stop_all()
    running.tell(Progressed("t0000", 50, {}))
    assert not running.stopper.stop_all()
    assert running.queue.told == ["begin_to_close"]
    assert [event.trials for event in running.memory.of(Stopping)] == [["t0000"]]
    running.tell(running.checkpoint(tmp_path, 60))
    assert running.stopper.stop_all()
    assert running.queue.told == ["begin_to_close", "close"]
    assert running.session.state.trials["t0000"].resumes_at == 60


def test_it_waits_no_longer_than_saving_may_take(running):
    running.stop.set()
    assert not running.stopper.stop_all()
    running.now += SAVING_SECONDS + 1
    assert running.stopper.stop_all()


def test_what_is_reported_again_as_it_stops_is_noted_once(running, tmp_path):
    saved = running.checkpoint(tmp_path, 60)
    running.tell(saved)
    running.session.interrupted = True
    running.tell(saved)
    assert running.memory.of(Saved) == [saved]
