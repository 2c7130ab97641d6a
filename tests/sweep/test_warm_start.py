"""Searches that begin with what earlier sweeps found out."""

from __future__ import annotations

import re
from contextlib import closing
from statistics import mean

import pytest
from logged import LoggedSweep
from optuna.trial import FixedTrial, TrialState
from session_driver import Driver

from gensweep.build.training_length import TrainingLengths
from gensweep.config import checked_sweep
from gensweep.config.search_methods import RandomSearch
from gensweep.errors import ConfigError
from gensweep.sweep.events import Cloned, Created, Paused, SessionEnded, Suggested, WarmStarted
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.planning import plan_sweep, recall_sweep
from gensweep.sweep.session import Session
from gensweep.sweep.state import SweepState
from gensweep.sweep.warm_start import earlier_sweeps, is_prepared, warm_start_words, warm_starts

RATE = "optimizer.learning_rate"


def sweep(*, name="new", rate=(1.0e-4, 1.0e-2), images=640, search=None, **range_settings):
    """A sweep over the learning rate of a tiny network, which nobody trains here."""
    return checked_sweep(
        {
            "name": name,
            "base": {
                "family": {"kind": "diffusion"},
                "data": {"kind": "digits", "size": 8},
                "network": {"kind": "cnn", "width": 8, "depth": 1},
                "training": {"images": images, "batch_size": 32},
                "evaluation": {"every": 320},
            },
            "space": {RATE: {"float": list(rate), "log": True, **range_settings}},
            "search": {"trials": 12, "warm_start": ["old"], **(search or {})},
        }
    )


def planned(sweep):
    return plan_sweep(sweep, TrainingLengths())


def found(plan, root):
    return warm_starts(plan, earlier_sweeps(plan, root))


def earlier(root, sweep, results):
    """A sweep that ended, whose trials are (learning rate, scores at every 320 images, status)."""
    logged, plan = LoggedSweep(root, sweep.name, trials=len(results)), planned(sweep)
    for number, (rate, scores, status) in enumerate(results):
        name = f"t{number:04d}"
        params = plan.sample(FixedTrial({RATE: rate}))
        logged.start(name, params, plan.configure(params))
        for position, score in enumerate(scores):
            logged.evaluate(name, 320 * (1 + position), score)
        logged.add(Paused(name)) if status == "paused" else logged.end(name, status)
    logged.close()


RESULTS = [
    (2e-4, [9.0, 8.0], "finished"),
    (1e-3, [5.0], "pruned"),
    (5e-3, [4.0, 2.0], "finished"),
    (8e-3, [], "failed"),
    (9e-3, [6.0], "paused"),
]


def test_scores_of_trainings_that_would_be_the_same_are_known(tmp_path):
    earlier(tmp_path, sweep(name="old"), RESULTS)
    (known,) = found(planned(sweep(rate=(5.0e-4, 1.0e-2))), tmp_path)
    assert [(each["trial"], each["params"], each["finished"], each["rungs"]) for each in known.known] == [
        ("t0002", {RATE: 5e-3}, True, [[320, 4.0], [640, 2.0]]),
        ("t0001", {RATE: 1e-3}, False, [[320, 5.0]]),
        ("t0004", {RATE: 9e-3}, False, [[320, 6.0]]),
    ]  # t0000 lies outside of this space
    assert not known.queue
    assert warm_start_words(known) == "warm start from old: the scores of 3 trials are known"


def test_a_prior_changes_the_scale_of_parameters_and_not_what_is_known(tmp_path):
    earlier(tmp_path, sweep(name="old"), RESULTS)
    believing = planned(sweep(prior=1.0e-3))
    (known,) = found(believing, tmp_path)
    assert [each["trial"] for each in known.known] == ["t0002", "t0001", "t0004", "t0000"]
    rates = [believing.sample(FixedTrial(each["params"]))[RATE] for each in known.known]
    assert rates == pytest.approx([5e-3, 1e-3, 9e-3, 2e-4])


@pytest.mark.parametrize(
    "other", [{"images": 320}, {"search": {"sampler": RandomSearch().model_dump()}}], ids=["length", "sampler"]
)
def test_where_scores_do_not_count_the_settings_of_the_best_come_first(tmp_path, other):
    earlier(tmp_path, sweep(name="old"), [(rate / 1e4, [float(rate)], "finished") for rate in (8, 3, 9, 4, 7, 6, 5)])
    (known,) = found(planned(sweep(**other)), tmp_path)
    assert not known.known
    assert known.queue == [{RATE: rate / 1e4} for rate in (3, 4, 5, 6, 7)]
    few = {**other, "search": {**other.get("search", {}), "trials": 4}}
    (known,) = found(planned(sweep(**few)), tmp_path)
    assert len(known.queue) == 2  # half of the trials are left to the search


def test_clones_of_other_trainings_are_no_scores_of_their_settings(tmp_path):
    earlier(tmp_path, sweep(name="old"), RESULTS)
    old = LoggedSweep(tmp_path, "old")
    source = old.trials["t0002"]
    old.add(Cloned("t0000", "t0002", 320, "somewhere", source.params, source.config))
    old.evaluate("t0000", 640, 1.0)
    (known,) = found(planned(sweep()), tmp_path)
    assert [each["trial"] for each in known.known] == ["t0002", "t0001", "t0004"]
    assert known.queue == [{RATE: 5e-3}]


def test_an_earlier_sweep_that_cannot_help_is_refused(tmp_path):
    def refusal(**settings):
        with pytest.raises(ConfigError) as raised:
            found(planned(sweep(**settings)), tmp_path)
        return str(raised.value)

    assert re.match(r"search.warm_start: there is no sweep 'old' in .*\(known: none\)", refusal())
    LoggedSweep(tmp_path, "old").close()
    assert refusal() == "search.warm_start: no trial of old has a score yet; wait for it, or leave it out"
    earlier(tmp_path, sweep(name="slow"), [(2e-4, [9.0], "finished")])
    assert refusal(rate=(1e-3, 1e-2), search={"warm_start": ["slow"]}) == (
        "search.warm_start: no trial of slow lies in this space (t0000: optimizer.learning_rate: 0.0002 is not within "
        "0.001 .. 0.01); leave it out, or search what it searched"
    )
    with pytest.raises(ConfigError, match=r"search\.warm_start: a grid takes every combination once"):
        sweep(rate=(1e-3, 1e-2), step=1e-3, log=False, search={"sampler": {"kind": "grid"}, "trials": 4})


KNOWN = WarmStarted(
    "/sweeps/old",
    [
        {"trial": "t0001", "params": {"x": 0.25}, "finished": True, "rungs": [[200, 3.0], [400, 2.0]]},
        {"trial": "t0002", "params": {"x": 0.75}, "finished": False, "rungs": [[200, 5.0]]},
    ],
    [{"x": 0.5}],
)


def test_a_study_begins_with_what_is_known_and_can_be_made_anew(tmp_path):
    driver = Driver(tmp_path, warm_starts=(KNOWN,))
    assert (driver.begin().trial, driver.begin("other").trial) == ("t0000", "t0001")
    assert driver.state.trials["t0000"].params["x"] == 0.5
    driver.evaluate(400, 1.0)
    driver.end()
    driver.session.note(SessionEnded("interrupted"))
    told = [(each.number, each.state, each.params["x"], each.value) for each in driver.told]
    assert told[:3] == [
        (0, TrialState.COMPLETE, 0.25, 2.0),
        (1, TrialState.COMPLETE, 0.75, 5.0),
        (2, TrialState.COMPLETE, 0.5, 1.0),
    ]
    later = Driver(tmp_path)  # what was known stands in the log; the other sweep may be gone
    assert [(each.number, each.state, each.params["x"], each.value) for each in later.told] == told
    assert later.session.next_trial().trial == "t0001"
    assert later.session.next_trial().trial == "t0002"


@pytest.mark.mlflow
@pytest.mark.parametrize("events", [0, 1, 2, 3], ids=["nothing", "created", "one sweep", "both sweeps"])
def test_a_start_that_ended_before_all_was_on_record_is_made_up_for(tmp_path, events, monkeypatch):
    from made_up import mlflow_store

    from gensweep.api import running
    from gensweep.report.display import ProgressDisplay

    monkeypatch.setattr(running, "with_formats", lambda sweep, trials: (sweep, []))  # those of the first start hold
    with mlflow_store(tmp_path):
        for name in ("old", "older"):
            earlier(tmp_path, sweep(name=name), RESULTS)
        first = sweep(search={"warm_start": ["old", "older"]})
        known = found(planned(first), tmp_path)
        folder = SweepFolder(tmp_path, "new")
        folder.create(planned(first).settings)
        begun = [Created("id", "new", "fd", "min", 12), *known][:events]
        for event in begun:
            folder.log.append(event)
        with closing(ProgressDisplay()) as display:
            plan = running._checked_plan(recall_sweep(folder), tmp_path, None, display).measured()
        state = Session(plan, folder, [], concurrent=1).state
        assert state.sources == [str(tmp_path / "old"), str(tmp_path / "older")]
        assert (state.known, state.queue) == ([trial for each in known for trial in each.known], [])
        assert bool(plan.warm_starts) == (events < 3)


def test_a_search_that_has_drawn_trials_asks_for_no_earlier_sweep_which_may_be_gone():
    state = SweepState.of([])
    for event in (Created("id", "new", "fd", "min", 12), Suggested("t0000", 0, {}, {}, {})):
        state.apply(event, 0)
    assert is_prepared(state, planned(sweep()))


@pytest.mark.trains
def test_the_sampler_learns_from_what_is_known(tmp_path):
    def best_of(name, seed, known):
        driver = Driver(tmp_path, name=f"{name}-{seed}", trials=5, warm_starts=known, search={"seed": seed})
        values = []
        for _ in range(5):
            values.append((driver.begin().params["x"] - 0.62) ** 2)
            driver.evaluate(400, values[-1])
            driver.end(finished=True)
        return min(values)

    tried = [-0.95 + 0.1 * number for number in range(20)]
    known = [
        {"trial": f"t{number}", "params": {"x": x}, "finished": True, "rungs": [[400, (x - 0.62) ** 2]]}
        for number, x in enumerate(tried)
    ]
    cold = mean(best_of("cold", seed, ()) for seed in range(2))
    warm = mean(best_of("warm", seed, (WarmStarted("/a", known),)) for seed in range(2))
    assert warm < cold / 4
