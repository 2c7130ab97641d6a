"""Samplers and schedulers."""

from __future__ import annotations

import optuna
import pytest
from trivial_sweeps import plan

from gensweep.config.search_methods import GridSearch
from gensweep.config.sweep_config import Search
from gensweep.search.samplers import make_sampler
from gensweep.search.session import Session
from gensweep.sweep.events import SessionEnded, Started
from gensweep.sweep.folder import SweepFolder


def sampler(kind, seed, trials_so_far):
    return make_sampler(Search(seed=seed, sampler={"kind": kind}), trials_so_far)


def draws(sampler, count=4):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append(trial.suggest_float("x", 0, 1))
        study.tell(trial, drawn[-1])
    return drawn


@pytest.mark.parametrize("kind", ["tpe_by_branch", "random", "gp"])
def test_a_seed_fixes_the_draws_and_a_later_session_does_not_repeat_them(kind):
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
