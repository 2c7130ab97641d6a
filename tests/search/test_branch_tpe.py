"""Optuna's TPE within the branches of a space."""

from __future__ import annotations

from collections import Counter

import optuna
import pytest

from gensweep.config.ranges import Branch, Choices, Conditional, Fixed, Range
from gensweep.config.search_methods import TpeByBranch
from gensweep.config.sweep_config import Search
from gensweep.search.samplers import make_sampler
from gensweep.search.space import suggest

RATE = Range("rate", "rate", 0.0, 1.0, None, log=False, integer=False)
WIDTH = Range("net.width", "net.width", 0.0, 1.0, None, log=False, integer=False)
NET = Conditional("net", "net.kind", (Branch("plain", (WIDTH, RATE)), Branch("deep", (WIDTH,))))
PLAIN_CHOICE = Conditional("loss", "loss.kind", (Branch("l1", (Fixed("loss.kind", "l1"),)), Branch("l2", ())))
SPACE = (Choices("batch", "batch", (32, 64)), NET, PLAIN_CHOICE)


def sampler(nodes, **settings):
    return make_sampler(Search(sampler=TpeByBranch(startup_trials=5, **settings)), 0, nodes=nodes)


def asked(study, nodes):
    trial = study.ask()
    suggest(nodes, trial)
    return trial


@pytest.fixture
def known():
    """Sixty random trials; those of the branch `plain` are all better than the others, and so good ones are of it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(60):
        trial = asked(study, SPACE)
        plain = trial.params["net.kind"] == "plain"
        study.tell(trial, abs(trial.params["net.width"] - 0.9) + (0 if plain else 100))
    return study.trials


def test_a_branch_is_drawn_as_optuna_draws_where_there_is_no_other(known):
    whole = optuna.create_study(sampler=sampler(SPACE))
    whole.add_trials(known)
    alone = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5, multivariate=False))
    alone.add_trials([trial for trial in known if trial.params["net.kind"] == "deep"])
    whole.enqueue_trial({"net.kind": "deep"})
    trial, other = whole.ask(), alone.ask()
    trial.suggest_categorical("net.kind", NET.labels)
    assert trial.suggest_float("net.width", 0, 1) == other.suggest_float("net.width", 0, 1)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_worse_branch_is_drawn_as_often_and_near_its_own_best(known):
    optunas = optuna.samplers.TPESampler(seed=0, n_startup_trials=5, multivariate=True, group=True)
    for kind, each in (("ours", sampler(SPACE)), ("optuna's", optunas)):
        study = optuna.create_study(sampler=each)
        study.add_trials(known)
        drawn = [asked(study, SPACE) for _ in range(100)]
        for trial in drawn:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        deep = [trial.params["net.width"] for trial in drawn if trial.params["net.kind"] == "deep"]
        near = [width for width in deep if abs(width - 0.9) < 0.2]
        assert (35 <= len(deep) <= 65 and len(near) > 0.7 * len(deep)) == (kind == "ours")


def test_a_choice_is_drawn_by_what_hangs_on_it_in_its_branch():
    def net(*below):
        return Conditional("net", "net.kind", (Branch("unet", below), Branch("dit", ())))

    rich = net(Conditional("up", "up.kind", tuple(Branch(label, (RATE,)) for label in ("a", "b", "c"))))
    nodes = (Conditional("family", "family.kind", (Branch("rich", (rich,)), Branch("plain", (net(),)))),)
    study = optuna.create_study(sampler=sampler(nodes))
    drawn = Counter()
    for _ in range(400):
        trial = asked(study, nodes)
        study.tell(trial, float(trial.params["net.kind"] == "unet"))
        drawn[trial.params["family.kind"], trial.params["net.kind"]] += 1
    assert 0.68 < drawn["rich", "unet"] / (drawn["rich", "unet"] + drawn["rich", "dit"]) < 0.82  # three of four
    assert 0.74 < (drawn["rich", "unet"] + drawn["rich", "dit"]) / 400 < 0.86  # four of five
    assert drawn["plain", "dit"] > 3 * drawn["plain", "unet"]  # it is learnt


def test_a_default_search_learns_in_each_of_three_branches():
    """Of random trials 0.3 are this near to the best width."""
    net = Conditional("net", "net.kind", tuple(Branch(label, (WIDTH,)) for label in "abc"))
    near = []
    for seed in range(40):
        search = Search(trials=20, seed=seed)
        study = optuna.create_study(sampler=make_sampler(search, 0, nodes=(net,)))
        for number in range(search.trials):
            trial = asked(study, (net,))
            distance = abs(trial.params["net.width"] - 0.9)
            study.tell(trial, distance)
            near += [distance < 0.2] if number >= 10 else []
    assert sum(near) / len(near) > 0.36
