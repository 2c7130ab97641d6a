"""Evaluations of trials, from the log of their sweep and from MLflow."""

import shutil
from dataclasses import replace

import pytest
from logged import IDENTITY, LoggedSweep

from gensweep.results import Cost
from gensweep.tracking.evaluations import evaluations_of
from gensweep.tracking.runs import find_sweep

pytestmark = pytest.mark.mlflow

CHEAP = replace(IDENTITY, samples=4)


def cost(images):
    return Cost(images=images, flops=1e9 * images, device_seconds=0.1 * images, train_seconds=0.1 * images, params=7)


@pytest.fixture
def sweep(store):
    """One trial with three evaluations, and one whose early evaluation is of another kind."""
    made = LoggedSweep(store / "sweeps", trials=2)
    made.start("t0000", config={"evaluation": {"rung_samples": None}})
    for images, value in ((10, 5.0), (20, 3.0), (30, 4.0)):
        made.evaluate("t0000", images, value, corrected=value - 1, error=0.5, cost=cost(images))
    made.end("t0000")
    made.start("t0001", config={"evaluation": {"rung_samples": 4}})
    made.evaluate("t0001", 10, 1.0, identity=CHEAP, cost=cost(10))
    made.evaluate("t0001", 20, 6.0, cost=cost(20))
    made.end("t0001")
    made.file()
    return find_sweep("a")


def seen(evaluations):
    return [
        (each.images, each.scores["fd"].value, each.scores["fd"].error, each.cost.flops, each.cost.params)
        for each in evaluations
    ]


def test_the_log_has_all_evaluations_with_their_identities(sweep):
    first, second = evaluations_of(sweep.trials).values()
    assert seen(first) == [(10, 5.0, 0.5, 1e10, 7), (20, 3.0, 0.5, 2e10, 7), (30, 4.0, 0.5, 3e10, 7)]
    assert [each.scores["fd"].identity for each in second] == [CHEAP, IDENTITY]


def test_without_the_log_the_histories_of_the_store_say_the_same(sweep, store):
    logged = [seen(each) for each in evaluations_of(sweep.trials).values()]
    shutil.rmtree(store / "sweeps")
    first, second = evaluations_of(find_sweep("a").trials).values()
    assert seen(first) == logged[0]
    assert seen(second) == logged[1][1:]  # which identity an early score has, the store does not say
    assert second[0].scores["fd"].identity == IDENTITY


def test_trials_without_a_score_have_none(sweep):
    assert evaluations_of([replace(sweep.trials[0], objective=None)]) == {}


def test_a_trial_without_a_history_has_the_score_of_its_record(sweep, monkeypatch):
    monkeypatch.setattr("gensweep.tracking.evaluations.stored_history", lambda trial, metric: [])
    (only,) = evaluations_of([replace(sweep.trials[0], folder=None)]).values()
    assert only[0].scores["fd"].value == 3.0
