"""Which trials Tune gets, and when: as many as have a place."""

from __future__ import annotations

import threading

import pytest
from ray.tune.search import Searcher
from trivial_sweeps import plan

from gensweep.sweep import search as module
from gensweep.sweep.events import Ended, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.search import SessionSearcher
from gensweep.sweep.session import Session


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
