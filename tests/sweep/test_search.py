"""Samplers and schedulers."""

from __future__ import annotations

from types import SimpleNamespace

import optuna
import pytest
from logged import evaluation
from trivial_sweeps import plan

from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.search import Asha, make_scheduler
from gensweep.sweep.session import Session
from gensweep.sweep.study import make_sampler


def draws(sampler, count=4):
    study = optuna.create_study(sampler=sampler)
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append(trial.suggest_float("x", 0, 1))
        study.tell(trial, drawn[-1])
    return drawn


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_seed_fixes_the_draws_and_a_later_session_does_not_repeat_them(kind):
    first = draws(make_sampler(kind, 3, 0, {}))
    assert first == draws(make_sampler(kind, 3, 0, {}))
    assert not set(first) & set(draws(make_sampler(kind, 4, 0, {})))
    assert not set(first) & set(draws(make_sampler(kind, 3, 4, {})))


def test_a_grid_meets_every_combination_once_over_sessions(tmp_path):
    def sample(trial):
        kind = trial.suggest_categorical("kind", ["a", "b"])
        if kind == "a":
            return {"kind": kind, "size": trial.suggest_int("depth", 1, 4)}
        return {"kind": kind, "size": trial.suggest_int("width", 8, 16, step=8)}

    for more in (0, 3):
        folder = SweepFolder(tmp_path, "a")
        folder.create({})
        session = Session(plan(trials=3, sampler="grid", sample=sample), folder, [], more_trials=more)
        session.open(1)
        for number in range(3):
            session.next_trial(str(number))
            session.started(str(number))
            session.ended(str(number), {"failure": "none"})
        session.close("finished")
    met = [(trial.params["kind"], trial.params["size"]) for trial in folder.state().trials.values()]
    assert sorted(met) == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 8), ("b", 16)]


def test_tpe_settings_reach_optuna():
    assert make_sampler("tpe", 0, 0, {"n_startup_trials": 3})._n_startup_trials == 3


def _as_reported(tune_id, report):
    return report.scores["fd"].value


def play(scheduler, results):
    """Feed (trial, images, value); the trials that are stopped, with the images."""
    known, stopped = set(), []
    for name, images, value in results:
        trial = SimpleNamespace(trial_id=f"tune-{name}", config={"trial": name})
        if name not in known:
            scheduler.on_trial_add(None, trial)
            known.add(name)
        result = {"images": images, "objective": value, "report": evaluation(images, value)}
        if scheduler.on_trial_result(None, trial, result) == "STOP":
            stopped.append((name, images))
    return stopped


RESULTS = [(f"t{i}", images, float((i * 7) % 10) - images / 1000) for images in (100, 300) for i in range(10)]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_asha_stops_whom_rays_own_stops(mode):
    from ray.tune.schedulers import AsyncHyperBandScheduler

    rays = AsyncHyperBandScheduler(
        time_attr="images", metric="objective", mode=mode, max_t=900, grace_period=100, reduction_factor=3
    )
    ours = Asha(_as_reported, mode=mode, budget=900, grace=100, reduction=3)
    stopped = play(ours, RESULTS)
    assert stopped == play(rays, RESULTS)
    assert stopped


def test_asha_goes_on_over_sessions_as_if_there_had_been_one():
    whole = play(Asha(_as_reported, mode="min", budget=900, grace=100, reduction=3), RESULTS)
    later = Asha(_as_reported, mode="min", budget=900, grace=100, reduction=3)
    rungs = {}
    for name, images, value in RESULTS[:13]:
        rungs.setdefault(name, []).append((images, value))
    # A file a trial keeps its own order, so the sessions before are entered trial by trial.
    for name, seen in rungs.items():
        later.replay(name, seen)
    first = play(Asha(_as_reported, mode="min", budget=900, grace=100, reduction=3), RESULTS[:13])
    assert first + play(later, RESULTS[13:]) == whole


def test_asha_lets_progress_reports_pass_and_ends_at_the_budget():
    scheduler = Asha(_as_reported, mode="min", budget=900, grace=100, reduction=3)
    trial = SimpleNamespace(trial_id="a", config={"trial": "t0"})
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {"images": 100, "report": {"loss": 1.0}}) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, {"images": 900, "report": evaluation(900, 1.0)}) == "STOP"


def test_the_default_grace_is_two_reductions_below_the_budget(tmp_path):
    session = Session(plan(), SweepFolder(tmp_path, "a"), [])
    assert make_scheduler("asha", session, budget=900, reduction=3)._brackets[0]._rungs[-1][0] == 100
