"""Tables of real trials are whole, and a search that is replayed on one spends and finds what the table says."""

import importlib.util
import math
from itertools import pairwise

import numpy as np
import optuna
import pytest
from replays.populations import CurveModel, NearestConfigurations, log_scores, trust
from replays.table import NAMES, Table, Training, file_of, load_table, sweep_of
from replays.table_replay import Pool, Stage, replay
from search_efficiency import METHODS, SHARES, make_search, median_with_interval, replays, shares_of

from gensweep.sweep.space import SearchSpace

NAME, BUDGET, SCORING = "digits", 8e11, 8e9
PEERS = ("smac", "dehb")
MADE = [name for name in NAMES if file_of(name).exists()]


def drawn(count):
    """Parameters of random trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, space = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), SearchSpace.of(sweep_of(NAME))
    for _ in range(count):
        trial = study.ask()
        space.suggest(trial)
        yield dict(trial.params)


def training(number, parameters, final, *, seed=0, points=4):
    """One whose scores fall to the last one, in the same order at each point as at the end."""
    curve = {
        "flops": [BUDGET * share for share in SHARES],
        "scoring_flops": [SCORING * (point + 1) for point in range(4)],
        "score": [final * (2 - share) for share in SHARES],
    }
    curve = {key: values[:points] for key, values in curve.items()}
    status = "finished" if points == 4 else "failed"
    return Training(f"000-{number:02d}", seed, status, None, parameters, {}, curve, "", "")


@pytest.fixture(scope="module")
def table():
    identity = {"metric": "fd", "extractor": "x", "samples": 2, "reference": "y", "quantisation": "z"}
    rows = [training(i, each, 100.0 + 7 * (i * 37 % 60)) for i, each in enumerate(drawn(60))]
    sweep = {"budget": {"flops": BUDGET}, "base": {"evaluation": {"at": SHARES[:-1]}}}
    return Table(NAME, {"identity": identity, "sweep": sweep}, tuple(rows))


def nearest(table):
    return NearestConfigurations(table, sweep_of(NAME).nodes(), SHARES)


def replayed(table, folder, *, method="random", flops, workers=1):
    pool = Pool(nearest(table), BUDGET, SHARES, seed=0)
    return replay(make_search(method, pool, table, folder, 5), pool, flops=flops, workers=workers)


@pytest.mark.parametrize("name", MADE)
def test_each_training_of_a_table_is_one_of_its_population(name):
    table, space = load_table(name), SearchSpace.of(sweep_of(name))
    assert len({(each.configuration, each.seed) for each in table.trainings}) == len(table.trainings)
    for each in table.trainings:
        space.suggest(optuna.trial.FixedTrial(dict(each.parameters)))
        assert len({len(values) for values in each.curve.values()}) == 1
        assert all(a < b for a, b in pairwise(each.curve["flops"]))
        # Two points may fall on one batch, of a few large ones.
        assert each.status == "failed" or len(each.curve["score"]) in (8, 9)
    for several in table.by_configuration.values():
        assert all(each.parameters == several[0].parameters for each in several)


def test_a_search_gets_the_nearest_configuration_that_it_has_not_had(table):
    pool = Pool(nearest(table), BUDGET, SHARES, seed=0)
    for each in table.trainings:
        assert pool.drawn[pool.take(each.parameters)].configuration == each.configuration
    pool = Pool(nearest(table), BUDGET, SHARES, seed=0)
    assert len({pool.drawn[pool.take(table.trainings[0].parameters)].configuration for _ in range(60)}) == 60


def test_random_search_pays_for_each_training_and_scoring(table, tmp_path):
    each = BUDGET + 4 * SCORING
    found = replayed(table, tmp_path, flops=5.5 * each)
    assert found[0].flops == pytest.approx(BUDGET / 27 + SCORING)
    points = [BUDGET * share + (point + 1) * SCORING for point, share in enumerate(SHARES)]
    assert all(any(step.flops % each == pytest.approx(point % each, abs=1) for point in points) for step in found)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_search_spends_more_than_it_has(table, tmp_path, workers):
    assert replayed(table, tmp_path, method="tpe+asha", flops=5 * BUDGET, workers=workers)[-1].flops <= 5 * BUDGET


@pytest.mark.parametrize(
    "method",
    [
        *(each for each in METHODS if each not in PEERS),
        *(pytest.param(each, marks=pytest.mark.filterwarnings("ignore")) for each in PEERS),  # warnings of their own
    ],
)
def test_what_a_replay_has_found_gets_better_where_seeds_do_not_differ(table, method):
    if method in PEERS and importlib.util.find_spec(method) is None:
        pytest.skip(f"{method} is not installed: pip install 'gensweep[search-peers]'")
    population = NearestConfigurations(table, sweep_of(NAME).nodes(), shares_of(method))
    for steps in replays(method, table, population, 1, 5):
        assert all(a.flops < b.flops and a.fresh > b.fresh for a, b in pairwise(steps))
        assert steps[-1].fresh >= 100


def test_where_rungs_rank_as_the_end_does_asha_finds_more_than_random_search(table):
    methods = ("random", "asha")
    found = [[steps[-1].fresh for steps in replays(each, table, nearest(table), 3, 6)] for each in methods]
    assert sum(found[1]) < sum(found[0])


def test_a_warm_search_begins_with_the_best_of_an_earlier_one_and_a_wrong_one_with_its_worst(table):
    methods = ("warm (ranks)", "warm (wrong)")
    firsts = [[steps[0].fresh for steps in replays(each, table, nearest(table), 2, 2)] for each in methods]
    assert max(firsts[0]) < min(firsts[1])


def test_a_failed_training_costs_until_its_next_point_and_is_never_the_best(table, tmp_path):
    first, second = (each.parameters for each in table.trainings[:2])
    small = Table(NAME, table.heading, (training(0, first, 1.0, points=2), training(1, second, 100.0)))
    pool = Pool(nearest(small), BUDGET, SHARES, seed=0)
    taken = pool.take(first)
    assert [pool.score(Stage("", taken, point)) is None for point in range(4)] == [False, False, True, True]
    assert pool.cost(Stage("", taken, 2)) == pytest.approx(BUDGET * (1 / 3 - 1 / 9) + SCORING)
    assert replayed(small, tmp_path, flops=1.9 * BUDGET)[-1].fresh == pytest.approx(100.0)


def test_what_is_trusted_of_a_score_is_what_seeds_do_not_explain(table):
    logs = {0: (0.0, 0.2), 1: (1.0, 1.4), 2: (2.0,), 3: (4.0,)}
    trained = [
        training(number, table.trainings[number].parameters, math.exp(log), seed=seed)
        for number, each in logs.items()
        for seed, log in enumerate(each)
    ]
    made = Table(NAME, table.heading, tuple(trained))
    curves = {each: log_scores(made, each, SHARES) for each in trained}
    within = (0.02 + 0.08) / 2  # sums of squares around the mean of each, over their degrees of freedom
    shares = trust(made, curves, np.array([[0.5, 0.1, 1.0, 2.0], [0.5, 0.1, 1.0, -2.0]]))
    assert shares == pytest.approx([1 - within / 0.25, 0.0, 1 - within, 1 - within / 4])


def test_a_smoothed_table_expects_what_was_trained_where_little_is_noise():
    x = np.linspace(0, 1, 15)[:, None]
    curves = np.stack([np.sin(4 * x[:, 0]), 2 + 3 * np.sin(4 * x[:, 0])], axis=1)
    model = CurveModel(x, curves)
    assert model(np.array([[0.35]])) == pytest.approx([math.sin(1.4), 2 + 3 * math.sin(1.4)], abs=0.05)


def test_residuals_are_those_of_processes_that_were_not_told_of_a_curve():
    rng = np.random.default_rng(0)
    x, y = rng.random((12, 2)), rng.normal(size=(12, 1))
    model = CurveModel(x, y)
    process = model.processes[0][0]
    for left_out in range(12):
        others = np.arange(12) != left_out
        k = process.kernel_(x[others])
        told = (y[others, 0] - y.mean()) @ np.linalg.solve(k, process.kernel_(x[others], x[[left_out]]))
        assert model.residuals[left_out, 0] == pytest.approx(y[left_out, 0] - y.mean() - told[0], abs=1e-6)


def test_the_interval_of_a_median_has_the_order_statistics_of_the_sign_test():
    # n = 20: the 6th and the 15th hold the median with a probability of 95.9 % (Conover 1999, table A3)
    middle, low, high = median_with_interval(np.arange(1.0, 21.0)[:, None])
    assert (middle[0], low[0], high[0]) == (10.5, 6.0, 15.0)
