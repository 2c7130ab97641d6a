"""When the budget of a whole search is used up."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logged import evaluation
from session_driver import Driver
from trivial_sweeps import plan

from gensweep.config.objectives import SearchBudget
from gensweep.config.search_methods import AshaSettings, Fifo
from gensweep.config.sweep_config import Repeats
from gensweep.results import Cost
from gensweep.search.session import Session
from gensweep.sweep.events import Ended, Evaluated, Exhausted, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.spending import spent_by


def session(root, budget, trials=None, **more):
    folder, search = SweepFolder(root, "a"), {"budget": SearchBudget(flops=budget)}
    sweep = plan(trials=trials, search=search, configs=[{"training": {"images": 100}}] * 50)
    if not folder.exists:
        folder.create({"sweep": {}})
    return Session(sweep, folder, [], concurrent=2, **more)


def score(one, trial, images, flops, value=1.0):
    cost = Cost(images=images, flops=flops, scoring_flops=flops / 10)
    one.note(Evaluated(trial, evaluation(images, value, cost=cost), None))


def run(one, flops=100.0, status="finished", images=100, value=1.0):
    """The next trial, whole; None if there is none."""
    trial = one.next_trial()
    if trial is not None:
        one.note(Started(trial.trial))
        score(one, trial.trial, images, flops, value)
        one.note(Ended(trial.trial, status))
    return trial


@pytest.mark.parametrize("scheduler", [Fifo(), AshaSettings()])
def test_the_first_wave_starts_no_more_than_the_budget_pays_for(tmp_path, scheduler):
    """The FLOPs of a training are known before it starts."""
    search = {"budget": SearchBudget(flops=300.0), "scheduler": scheduler}
    driver = Driver(tmp_path, trials=None, search=search, budget=100, known=lambda config: {"flops": 100.0})
    assert sum(driver.session.next_trial() is not None for _ in range(16)) == 3


def train(driver, trial, value, *, scoring=1.0, at=(10, 30, 90)):
    """Until it ends or waits: at a 27th it has spent 3.7 and a scoring, at its end 100 and four of them."""
    driver.session.note(Started(trial.trial))
    driver.names["x"] = trial.trial
    for images in (*at, 270):
        if images > trial.images:
            cost = Cost(images=images, flops=images / 2.7, scoring_flops=scoring * (len(trial.evaluations) + 1))
            if driver.evaluate(images, value / images, cost=cost):
                break
    driver.end(finished=images == 270)


def asha_search(root, budget, families=("a",), reduction=3, **asked):
    search = {"budget": SearchBudget(flops=budget), "scheduler": AshaSettings(reduction=reduction)}
    configs = [{"training": {"images": 270}, "family": {"kind": families[n % len(families)]}} for n in range(400)]
    return Driver(root, search=search, configs=configs, trials=None, budget=270, grace=10, **asked)


@pytest.mark.parametrize(("budget", "families"), [(90.0, 1), (190.0, 1), (210.0, 2), (290.0, 2), (320.0, 3)])
def test_each_family_goes_to_its_end_as_far_as_the_budget_pays_for_it(tmp_path, budget, families):
    driver = asha_search(tmp_path, budget, families=("a", "b", "c"))
    while (trial := driver.session.next_trial()) is not None:
        train(driver, trial, 500 - trial.number, scoring=0.0)
    assert len({trial.family for trial in driver.state.searched if trial.status == "finished"}) == families
    assert not driver.state.unfinished


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(1, 9, width=16), min_size=1, max_size=20),
    failing=st.sets(st.integers(1, 20), max_size=4),
    sessions=st.sets(st.integers(1, 40), max_size=4),
    budget=st.floats(50, 900),
    scoring=st.floats(0, 5),
    families=st.sampled_from([("a",), ("a", "b"), ("a", "b", "c", "c")]),
    at=st.sampled_from([(10, 30, 90), (34, 68, 135), (135,), (), (54, 108, 162, 216)]),
    reduction=st.integers(2, 4),
)
def test_a_search_spends_its_budget_and_no_more(
    tmp_path, values, failing, sessions, budget, scoring, families, at, reduction
):
    """Wherever its trials are scored, whoever fails, in however many sessions.

    What failed trials have spent may be missing in the end, where another one takes their place.
    """
    root, whole, stage = tmp_path / uuid4().hex, 100 + scoring * (len(at) + 1), 0
    driver = asha_search(root, budget, families, reduction)
    while (trial := driver.session.next_trial()) is not None:
        if (stage := stage + 1) in failing:
            driver.session.note(Started(trial.trial))
            driver.names["x"] = trial.trial
            driver.end(failure="ValueError: no")
        else:
            train(driver, trial, values[trial.number % len(values)], scoring=scoring, at=at)
        if stage in sessions:
            driver = asha_search(root, budget, families, reduction)
    assert not driver.state.unfinished
    spent, failed = driver.state.spending.amount, sum(spent_by(trial, "flops") for trial in driver.state.failed)
    assert "finished" in {trial.status for trial in driver.state.searched} or spent >= budget
    assert budget - whole < spent <= max(budget, whole) * (1 + 1e-6) + failed


def test_a_budget_pays_for_as_many_trials_as_it_has_been_divided_by(tmp_path):
    """Sums of tenths are a little off."""
    one = session(tmp_path, budget=0.4)
    assert sum(run(one, flops=0.1 / 1.1) is not None for _ in range(9)) == 4


def test_while_others_run_it_waits_for_what_they_leave(tmp_path):
    one = session(tmp_path, budget=250.0)
    run(one)
    running = one.next_trial()
    assert one.next_trial() is None  # also before its workers have taken it
    one.note(Started(running.trial))
    assert one.next_trial() is None
    assert one.waits
    score(one, running.trial, 10, 10.0)
    one.note(Ended(running.trial, "pruned"))
    assert run(one) is not None


@pytest.mark.parametrize("begun", [1, 2])
def test_an_extension_comes_on_top_of_what_the_budget_pays_for(tmp_path, begun):
    """Whether the search has come to its end, by its number of trials, or was interrupted."""
    first = session(tmp_path, budget=350.0, trials=2)
    for _ in range(begun):
        run(first)
    more = session(tmp_path, budget=350.0, trials=2, more_trials=4)
    assert sum(run(more) is not None for _ in range(9)) == 6 - begun
    again = session(tmp_path, budget=350.0, trials=2)
    assert again.next_trial() is None


def test_repeats_take_the_best_once_each_and_are_no_trials_of_the_search(tmp_path):
    asked = Repeats(top=2, seeds=2)
    one = session(tmp_path, budget=350.0, repeats=asked)
    for value in (3.0, 1.0, 2.0):
        run(one, value=value)
    drawn = [run(one, value=0.5)]
    assert [type(entry.event) for entry in one._folder.log.read()].count(Exhausted) == 1
    assert (one.state.total, one.state.left) == (7, 3)
    later = session(tmp_path, budget=350.0, repeats=asked)  # asks for none of them again
    while (trial := run(later, value=0.5)) is not None:
        drawn.append(trial)
    assert [trial.trial for trial in drawn] == ["t0001-s1", "t0001-s2", "t0002-s1", "t0002-s2"]
    assert [trial.repeat_of for trial in drawn] == ["t0001", "t0001", "t0002", "t0002"]
    assert [trial.config["seed"] for trial in drawn] == [1, 2, 1, 2]
    assert [trial.trial for trial in later.state.ranking] == ["t0001", "t0002", "t0000"]
    assert len(later.study.trials) == 3


def test_a_wish_for_repeats_outlasts_an_interruption_but_not_an_extension(tmp_path):

    def trained(driver):
        while driver.state.left:
            yield driver.begin().trial
            driver.evaluate(400, float(len(driver.state.trials)))
            driver.end(finished=True)

    Driver(tmp_path, trials=2, repeats=Repeats(top=1, seeds=2))
    assert [*trained(Driver(tmp_path, trials=2))] == ["t0000", "t0001", "t0000-s1", "t0000-s2"]
    assert [*trained(Driver(tmp_path, trials=2, more_trials=1))] == ["t0002"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), trials=st.integers(1, 5), workers=st.integers(1, 3), top=st.integers(1, 6))
def test_repeats_that_begin_before_the_search_ends_are_those_of_its_best(tmp_path, data, trials, workers, top):
    driver = Driver(tmp_path / uuid4().hex, trials=trials, search={"repeats": Repeats(top=top, seeds=1)})
    values = data.draw(st.permutations([float(value) for value in range(trials)]))
    running, begun = {}, []
    while running or driver.state.left:
        while len(running) < workers and (trial := driver.session.next_trial()) is not None:
            driver.names[trial.trial] = trial.trial
            driver.session.note(Started(trial.trial))
            running[trial.trial] = trial
            begun.append(trial)
        open_ = [trial for trial in driver.state.searched if not trial.ended]
        if len(running) < workers and len(open_) < top:  # an idle worker: whoever is certain has begun
            assert len([trial for trial in begun if trial.repeat_of]) == min(top, trials) - len(open_)
        name = data.draw(st.sampled_from(sorted(running)))
        driver.evaluate(400, values[running.pop(name).number], tune_id=name)
        driver.end(name, finished=True)
    repeats = {trial.repeat_of for trial in begun if trial.repeat_of}
    assert repeats == {trial.trial for trial in driver.state.ranking[:top]}
    assert len(begun) == trials + len(repeats)
