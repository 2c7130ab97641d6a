"""The expected gain of further trials, and where it ends a search."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from logged import evaluation
from trivial_sweeps import plan

from gensweep.config.search_methods import Fifo
from gensweep.config.sweep_config import StopWhen
from gensweep.results import Cost
from gensweep.search.expected_gain import expected_gain
from gensweep.search.session import Session
from gensweep.sweep.events import Created, Ended, Evaluated, Exhausted, Started, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState


def searched(scores, wanted, mode="min", budget=None):
    state = SweepState()
    state.apply(Created("id", "a", "fd", mode, wanted, search_budget=budget, search_unit="flops"), 0)
    for number, value in enumerate(scores):
        name, cost = f"t{number:04d}", Cost(images=10, flops=1.0, scoring_flops=0.0)
        state.apply(Suggested(name, number, {}, {}, {"training": {"images": 10}}), 0)
        state.apply(Evaluated(name, evaluation(10, value, mode=mode, cost=cost), None), 0)
        state.apply(Ended(name, "finished"), 0)
    return state


@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_right_for_scores_with_an_exponential_tail(sign):
    """The best of 20 is better by the sum of 1/k for 21 to 80 than that of 80, for either direction of the metric."""
    mode, draw = {1: "min", -1: "max"}[sign], random.Random(0)
    gains = []
    for _ in range(300):
        state = searched([sign * (1000 - sign * draw.expovariate(0.1)) for _ in range(20)], 80, mode)
        gains.append(expected_gain(state) * abs(min(sign * trial.score.value for trial in state.searched)))
    assert fmean(gains) == pytest.approx(10 * sum(1 / k for k in range(21, 81)), rel=0.05)


def test_the_budget_may_end_a_search_before_its_last_trial():
    scores = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert expected_gain(searched(scores, 10)) == expected_gain(searched(scores, 1000, budget=10.0))
    assert expected_gain(searched(scores, 1000, budget=4.0)) == 0


def test_nothing_is_expected_of_three_trials():
    assert expected_gain(searched([1.0, 1.0, 1.0], 9)) == float("inf")
    assert expected_gain(searched([1.0, 1.0, 1.0, 1.0], 9)) == 0


@pytest.mark.parametrize(("spread", "trials"), [(1e-4, 4), (1.0, 9)])
def test_a_search_ends_once_little_is_expected_and_not_before(tmp_path, spread, trials):
    search = {"stop_when": StopWhen(expected_gain=0.01), "scheduler": Fifo()}
    folder = SweepFolder(tmp_path, "a")
    folder.create({"sweep": {}})
    sweep = plan(trials=9, search=search, configs=[{"training": {"images": 10}}] * 20)
    session, ended = Session(sweep, folder, [], concurrent=1), 0
    while (trial := session.next_trial()) is not None:
        session.note(Started(trial.trial))
        session.note(Evaluated(trial.trial, evaluation(10, 1 + spread * trial.number, cost=Cost(images=10)), None))
        session.note(Ended(trial.trial, "finished"))
        ended += 1
    [*told] = [each.event.expected_gain for each in folder.log.read() if isinstance(each.event, Exhausted)]
    assert (ended, len(told)) == (trials, int(trials < 9))
    assert all(0 < gain < 0.01 for gain in told)
    more = Session(sweep, folder, [], concurrent=1, more_trials=2)  # what the user asks for is trained
    assert more.next_trial() is not None
