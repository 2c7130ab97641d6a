"""Samplers and schedulers."""

from __future__ import annotations

from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import evaluation
from trivial_sweeps import plan

from gensweep.config.search_methods import GridSearch, Nsga2, Tpe
from gensweep.config.sweep_config import Search
from gensweep.sweep.early_stopping import Asha
from gensweep.sweep.events import Created, Evaluated, SessionEnded, Started, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.session import Session
from gensweep.sweep.state import SweepState
from gensweep.sweep.study import make_sampler


def sampler(kind, seed, trials_so_far):
    return make_sampler(Search(seed=seed, sampler={"kind": kind}), trials_so_far)


def draws(sampler, count=4):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append(trial.suggest_float("x", 0, 1))
        trial.suggest_float("y", 0, 1)  # CMA-ES wants two dimensions
        study.tell(trial, drawn[-1])
    return drawn


@pytest.mark.parametrize("kind", ["tpe", "random", "gp", "cmaes", "nsga2"])
def test_a_seed_fixes_the_draws_and_a_later_session_does_not_repeat_them(kind):
    if kind == "cmaes":
        pytest.importorskip("cmaes", reason="Optuna's CMA-ES needs the package cmaes: pip install 'gensweep[cmaes]'")
    first = draws(sampler(kind, 3, 0))
    assert first == draws(sampler(kind, 3, 0))
    assert not set(first) & set(draws(sampler(kind, 4, 0)))
    assert not set(first) & set(draws(sampler(kind, 3, 4)))


def test_a_grid_meets_every_combination_once_over_sessions(tmp_path):
    def sample(trial):
        kind = trial.suggest_categorical("kind", ["a", "b"])
        if kind == "a":
            return {"kind": kind, "size": trial.suggest_int("depth", 1, 4)}
        return {"kind": kind, "size": trial.suggest_int("width", 8, 16, step=8)}

    for more in (0, 3):
        folder = SweepFolder(tmp_path, "a")
        folder.create({"sweep": {}})
        grid = plan(trials=3, search={"sampler": GridSearch()}, sample=sample)
        session = Session(grid, folder, [], concurrent=1, more_trials=more)
        for _ in range(3):
            trial = session.next_trial().trial
            session.note(Started(trial))
            session.ended(trial, {"failure": "none"})
        session.note(SessionEnded("finished"))
    met = [(trial.params["kind"], trial.params["size"]) for trial in folder.state().trials.values()]
    assert sorted(met) == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 8), ("b", 16)]


def test_generations_of_nsga2_go_on_in_a_study_that_is_made_anew(tmp_path):
    genetic = plan(trials=12, search={"sampler": Nsga2(population=3)})
    for _ in range(3):
        folder = SweepFolder(tmp_path, "a")
        folder.create({"sweep": {}})
        session = Session(genetic, folder, [], concurrent=1)
        for _ in range(3):
            trial = session.next_trial().trial
            session.note(Started(trial))
            session.reported(Evaluated(trial, evaluation(400, 1.0 + len(session.state.trials)), None))
            session.ended(trial, {"finished": True})
        session.note(SessionEnded("finished"))
    noted = [list(trial.sampler_state.values()) for trial in folder.state().searched]
    assert noted == [[0]] * 3 + [[1]] * 3 + [[2]] * 3


def test_tpe_settings_reach_optuna():
    assert make_sampler(Search(sampler=Tpe(startup_trials=3)), 0)._n_startup_trials == 3


ASHA = {"budget": 900, "grace": 100, "reduction": 3}


def play(results, mode="min", *, family=lambda name: "", sessions_of=None, **settings):
    """Feed (trial, images, value); by name, at which images trials are stopped.  A session may end after so many."""
    log, stopped = [Created("id", "a", "fd", mode, 10)], {}
    state, asha = read(log, settings)
    for number, (name, images, value) in enumerate(results):
        if sessions_of and number % sessions_of == 0:
            state, asha = read(log, settings)
        if name in stopped:
            continue
        news = [Evaluated(name, evaluation(images, value, mode=mode), None)]
        if name not in state.trials:
            news.insert(0, Suggested(name, len(state.trials), {}, {}, {"family": {"kind": family(name)}}))
        for event in news:
            take(event, state, asha)
        log += news
        if asha.wants(name) == "stop":
            stopped[name] = images
    return stopped


def read(log, settings):
    state, asha = SweepState(), Asha(**ASHA, **settings)
    for event in log:
        take(event, state, asha)
    return state, asha


def take(event, state, asha):
    state.apply(event, 0)
    asha.apply(event, state)


def play_ray(results, mode):
    """The same with Ray's scheduler, which is told the best score so far, as it does not remember it."""
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = AsyncHyperBandScheduler(
        time_attr="images", metric="objective", mode=mode, max_t=900, grace_period=100, reduction_factor=3
    )
    best, stopped = {}, {}
    for name, images, value in results:
        if name in stopped:
            continue
        trial = SimpleNamespace(trial_id=name)
        if name not in best:
            scheduler.on_trial_add(None, trial)
        best[name] = (min if mode == "min" else max)(best.get(name, value), value)
        if scheduler.on_trial_result(None, trial, {"images": images, "objective": best[name]}) == "STOP":
            stopped[name] = images
    return stopped


RESULTS = [(f"t{i}", images, float((i * 7) % 10) - images / 1000) for images in (100, 300) for i in range(10)]
scores = st.floats(-9, 9, width=16)


@pytest.mark.parametrize("mode", ["min", "max"])
@given(every=st.sampled_from([50, 100, 120, 250, 450]), drawn=st.lists(scores, min_size=40, max_size=40))
def test_asha_stops_whom_rays_own_stops(mode, every, drawn):
    trials = [f"t{i}" for i in range(8)]
    rounds = [(trial, every * (1 + n)) for n in range(5) for trial in trials if every * (1 + n) < 900]
    results = [(*each, value) for each, value in zip(rounds, drawn, strict=False)]
    assert play(results, mode) == play_ray(results, mode)


def test_asha_stops_some_of_the_worse():
    assert play(RESULTS)


def test_asha_lets_the_best_third_of_all_and_the_best_of_each_family_go_on():
    fast = [("t0", 100, 1.0), ("t2", 100, 2.0), ("t4", 100, 1.5), ("t6", 100, 1.8)]
    slow = [("t1", 100, 91.0), ("t3", 100, 92.0), ("t5", 100, 90.5), ("t7", 100, 90.7)]
    mixed = [each for pair in zip(fast, slow, strict=True) for each in pair]
    families = {"family": lambda name: "slow" if int(name[1:]) % 2 else "fast"}
    assert play(mixed, **families) == {"t3": 100, "t7": 100}
    assert play(mixed, **families, by_family=True) == dict.fromkeys(["t2", "t3", "t4", "t6"], 100)
    assert play(mixed) == {"t1": 100, "t3": 100, "t5": 100, "t7": 100}
    assert play(fast) == {"t2": 100, "t4": 100, "t6": 100}


def test_asha_goes_on_over_sessions_as_if_there_had_been_one():
    for sessions_of in (1, 7, 13):
        assert play(RESULTS, sessions_of=sessions_of) == play(RESULTS)


def test_asha_counts_a_score_at_the_rung_that_it_is_a_little_short_of():
    """As of evaluations after 0.11 and 0.33 of a training, with rungs at a ninth and a third."""
    first = [("t0", 100, 0.9), ("t0", 295, 0.2), ("t1", 100, 0.8)]
    assert play([*first, ("t1", 295, 0.4)]) == {"t1": 295}
    assert play([*first, ("t1", 250, 0.4)]) == {}


def test_asha_compares_no_late_score_at_a_rung_that_the_trial_has_passed_by():
    """Else t1 stopped at 350, which is no rung, as if its score there were one of 100."""
    first = [("t0", 310, 9.0), ("t0", 350, 1.0), ("t1", 310, 8.0), ("t1", 350, 7.0)]
    assert play(first) == {}
    assert play([*first, ("t2", 100, 7.5)]) == {}


def test_asha_stops_nobody_at_the_budget():
    assert play([("t0", 900, 1.0), ("t1", 900, 2.0), ("t2", 900, 3.0)]) == {}
