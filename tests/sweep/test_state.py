"""What follows from the events of a sweep."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import IDENTITY, evaluation

from gensweep.results import Cost, Outcome, SamplingConfig, better
from gensweep.sweep.events import (
    Created,
    Ended,
    Evaluated,
    Lost,
    Saved,
    ScoredAgain,
    SessionEnded,
    SessionStarted,
    Started,
    Suggested,
)
from gensweep.sweep.ranking import ranked
from gensweep.sweep.state import SweepState

RUNG = replace(IDENTITY, samples=2)


def state_of(events):
    state = SweepState()
    for time, event in enumerate(events):
        state.apply(event, time)
    return state


def begin(trials=3, mode="min", keep_best=1):
    return [Created("id", "a", "fd", mode, trials, keep_best), SessionStarted()]


def trial(name, *values, status="finished", identity=IDENTITY, mode="min", cost=None):
    scores = [
        Evaluated(name, evaluation(100 * n, v, identity=identity, mode=mode, cost=cost), f"c/{name}/{n}")
        for n, v in enumerate(values, 1)
    ]
    return [
        Suggested(name, int(name[1:]), {}, {}, {}),
        Started(name),
        *scores,
        *([Ended(name, status)] if status else []),
    ]


def test_the_objective_is_the_best_score_of_all_evaluations():
    (one,) = state_of([*begin(), *trial("t0000", 5.0, 2.0, 7.0)]).trials.values()
    assert (one.score.value, one.best.checkpoint, one.images) == (2.0, "c/t0000/2", 300)
    assert one.rungs == [(100, 5.0), (200, 2.0), (300, 2.0)]


@pytest.mark.parametrize(
    ("values", "mode", "never_improved"),
    [
        ((5.0, 6.0, 7.0), "min", True),
        ((5.0, 6.0, 4.0), "min", False),
        ((5.0, 4.0, 7.0), "min", False),
        ((5.0, 5.0), "min", False),
        ((5.0, 6.0, 4.5), "max", False),
        ((5.0, 4.0, 4.5), "max", True),
        ((5.0,), "min", False),
        ((), "min", False),
    ],
)
def test_a_trial_never_improved_if_its_first_evaluation_stayed_the_best(values, mode, never_improved):
    state = state_of([*begin(mode=mode), *trial("t0000", *values, mode=mode)])
    assert state.trials["t0000"].never_improved == never_improved


def test_a_larger_last_evaluation_stands_alone():
    events = [*begin(), *trial("t0000", 1.0, 2.0, 3.0, status=None, identity=RUNG)]
    events += [Evaluated("t0000", evaluation(400, 0.5), "c/t0000/4")]
    assert state_of(events).trials["t0000"].never_improved
    assert not state_of([*begin(), *trial("t0000", 2.0, 1.0, identity=RUNG), events[-1]]).trials["t0000"].never_improved


def outcome(value, *, seed=1, time=1.0, identity=IDENTITY, as_trained=True, evaluations=10):
    sampling = SamplingConfig("ddim", 10, None, "ema", evaluations)
    scores = evaluation(1, value, identity=identity).scores
    return Outcome(sampling, 8, seed, scores, 1.0, 1.0, "cpu", "", time, as_trained=as_trained)


def test_the_score_on_fresh_seeds_is_the_newest_that_is_like_the_objective():
    later = [
        outcome(6.0, time=5.0, seed=0),
        outcome(5.0, time=4.0, identity=RUNG),
        outcome(4.0, time=3.0, as_trained=False),
        outcome(3.0, time=2.0),
        outcome(2.0, time=1.0),
    ]
    (one,) = state_of(
        [*begin(), *trial("t0000", 1.0), *(ScoredAgain("t0000", each, 100) for each in later)]
    ).trials.values()
    assert one.rescored.value == 3.0
    assert [each.value for each in one.further_scores] == [5.0]
    unlike = [ScoredAgain("t0000", each, 100) for each in later[:3]]
    assert state_of([*begin(), *trial("t0000", 1.0), *unlike]).trials["t0000"].rescored is None


def test_rescoring_counts_only_for_the_current_best_checkpoint():
    resumed = [Started("t0000"), Evaluated("t0000", evaluation(200, 2.0), "c/t0000/2")]
    more = replace(IDENTITY, samples=50)
    again = [ScoredAgain("t0000", outcome(9.3), 100), ScoredAgain("t0000", outcome(9.1, identity=more), 100)]
    scored = [*begin(), *trial("t0000", 9.0, status="stopped"), *again]
    assert state_of(scored).trials["t0000"].rescored.value == 9.3
    (one,) = state_of([*scored, *resumed]).trials.values()
    assert (one.rescored, one.further_scores, len(one.outcomes)) == (None, (), 2)
    late = ScoredAgain("t0000", outcome(9.4, time=3.0), 100)  # it began when that was the best one
    newest = ScoredAgain("t0000", outcome(2.5, time=2.0), 200)
    (one,) = state_of([*scored, *resumed, newest, late]).trials.values()
    assert one.rescored.value == 2.5


def test_of_scores_by_other_measures_the_newest_of_each_is_kept():
    more = replace(IDENTITY, samples=50)
    later = [outcome(7.0, time=1.0, identity=more), outcome(6.0, time=2.0, identity=RUNG)]
    later += [outcome(5.0, time=3.0, identity=more), outcome(4.0, time=4.0, identity=RUNG, as_trained=False)]
    (one,) = state_of(
        [*begin(), *trial("t0000", 1.0), *(ScoredAgain("t0000", each, 100) for each in later)]
    ).trials.values()
    assert [(each.value, each.identity) for each in one.further_scores] == [(5.0, more), (6.0, RUNG)]
    assert one.rescored is None


def test_trials_that_ran_to_their_end_decide_which_identity_is_ranked():
    early = [event for n in (1, 2) for event in trial(f"t000{n}", 0.5, status="pruned", identity=RUNG)]
    state = state_of([*begin(), *trial("t0000", 9.0), *early])
    assert [each.trial for each in state.ranking] == ["t0000"]
    without_end = state_of([*begin(), *early])
    assert [each.trial for each in without_end.ranking] == ["t0001", "t0002"]


def test_the_last_two_checkpoints_and_the_best_one_are_kept():
    running = state_of([*begin(), *trial("t0000", 2.0, 5.0, 7.0, 6.0, status=None)]).trials["t0000"]
    assert running.useful_checkpoints == {"c/t0000/1", "c/t0000/3", "c/t0000/4"}
    assert running.checkpoints == ("c/t0000/4", "c/t0000/3")
    ended = state_of([*begin(), *trial("t0000", 2.0, 5.0, 7.0, 6.0)]).trials["t0000"]
    assert ended.useful_checkpoints == {"c/t0000/1"}


@given(st.lists(st.sampled_from(["lost", "node gone", "checkpoint", "same checkpoint", "started", "session"])))
def test_only_losses_in_a_row_on_living_nodes_count(happened):
    events, images = [*begin(), *trial("t0000", status=None)], 0
    for each in happened:
        match each:
            case "lost" | "node gone":
                events.append(Lost("t0000", "worker lost", counts=each == "lost"))
            case "checkpoint" | "same checkpoint":
                images += 100 * (each == "checkpoint")
                events.append(Evaluated("t0000", evaluation(images + 100, 1.0), "c"))
            case "started":
                events.append(Started("t0000"))
            case "session":
                events += [SessionEnded("interrupted"), SessionStarted()]
    state = state_of(events)
    expected, known = 0, False
    for each in happened:
        new = each == "checkpoint" or (each == "same checkpoint" and not known)
        known |= new
        expected = 0 if new or each == "session" else expected + (each == "lost")
    assert len(state.trials["t0000"].losses) == expected
    assert not state.trials["t0000"].ended


ends = st.lists(st.sampled_from(["finished", "pruned", "failed", "infeasible", "outside", "stopped"]))


@given(ends)
def test_any_other_end_resets_the_count_of_infrastructure_errors(drawn):
    events = begin()
    for number, end in enumerate(drawn):
        name = f"t{number:04d}"
        events += trial(name, 1.0, status=None)
        events.append(Ended(name, "failed" if end == "outside" else end, infrastructure_error=end == "outside"))
    in_a_row = 0
    for end in drawn:
        in_a_row = in_a_row if end == "stopped" else in_a_row + 1 if end == "outside" else 0
    assert state_of(events).infrastructure_errors_in_a_row == in_a_row
    assert state_of([*events, SessionEnded("failed"), SessionStarted()]).infrastructure_errors_in_a_row == 0


def test_a_trial_with_lost_workers_keeps_its_last_checkpoints():
    begun = [*begin(), *trial("t0000", 1.0, 2.0, 3.0, status=None), Lost("t0000", "worker lost")]
    state = state_of(begun)
    assert [t.trial for t in state.waiting] == ["t0000"]
    assert state.running == []
    failed = state_of([*begun, Ended("t0000", "failed", "worker lost", infrastructure_error=True)]).trials["t0000"]
    assert failed.useful_checkpoints == {"c/t0000/1", "c/t0000/2", "c/t0000/3"}


def test_a_checkpoint_without_a_score_can_be_resumed_from():
    events = [*begin(), *trial("t0000", 1.0, 2.0, status=None), Lost("t0000", "worker lost")]
    (before,) = state_of(events).trials.values()
    (saved,) = state_of([*events, Saved("t0000", 250, "c/t0000/between")]).trials.values()
    assert (saved.checkpoints, saved.resumes_at) == (("c/t0000/between", "c/t0000/2"), 250)
    assert (saved.rungs, saved.best, saved.evaluations) == (before.rungs, before.best, before.evaluations)
    assert saved.losses == []  # it is progress
    later = [*events, Saved("t0000", 250, "c/t0000/between"), Started("t0000")]
    later += [Evaluated("t0000", evaluation(images, 9.0), f"c/t0000/{images // 100}") for images in (300, 400)]
    (ended,) = state_of([*later, Ended("t0000", "finished")]).trials.values()
    assert "c/t0000/between" not in ended.useful_checkpoints


histories = st.lists(
    st.tuples(
        st.sampled_from([IDENTITY, RUNG]),
        st.floats(-5, 5),
        st.sampled_from(["finished", "pruned", "failed", "infeasible", None]),
        st.sampled_from([5, 10, None]),
    ),
    max_size=12,
)


@given(histories)
def test_ranking_is_one_identity_best_first_and_depends_on_no_order(drawn):
    events = []
    for number, (identity, value, status, params) in enumerate(drawn):
        if status == "infeasible":
            name = f"t{number:04d}"
            events += [Suggested(name, number, {}, {}, {}, known={"params": 11}), Ended(name, status)]
        else:
            cost = Cost(images=100, params=params)
            events += trial(f"t{number:04d}", value, identity=identity, status=status, cost=cost)
    created, session = begin(len(drawn))
    limit = {"metric": "params", "min": None, "max": 9.0}
    state = state_of([replace(created, constraints=[limit]), session, *events])
    ranking = state.ranking
    assert not any(each.broken_limits for each in ranking) or all(each.broken_limits for each in ranking)
    assert all(each.ended and each.broken_limits for each in state.trials.values() if each.status == "infeasible")
    assert state.left == sum(status is None for _, _, status, _ in drawn)
    assert all(each.status != "infeasible" for each in ranking)
    assert len({each.score.identity for each in ranking}) <= 1
    assert [each.score.value for each in ranking] == sorted(each.score.value for each in ranking)
    assert all(each.status != "failed" for each in ranking)
    assert [each.trial for each in ranked(list(state.trials.values())[::-1])] == [each.trial for each in ranking]


@given(st.lists(st.tuples(st.sampled_from([IDENTITY, RUNG]), st.floats(-5, 5)), min_size=1, max_size=8))
def test_better_keeps_the_least_of_the_last_identity(drawn):
    best = None
    for identity, value in drawn:
        score = evaluation(1, value, identity=identity).scores["fd"]
        best = score if better(score, best) else best
    last = drawn[-1][0]
    run = []
    for identity, value in reversed(drawn):
        if identity != last:
            break
        run.append(value)
    assert (best.identity, best.value) == (last, min(run))
