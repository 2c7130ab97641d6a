"""Tables of real trials are whole, and a search that is replayed on one spends and finds what the table says."""

import optuna
import pytest
from replays.populations import NearestConfigurations
from replays.table import Table, Training, sweep_of
from replays.table_replay import Pool, replay
from search_efficiency import SHARES, make_search, replays

from gensweep.search.space import suggest

NAME, BUDGET, SCORING = "digits", 8e11, 8e9


def drawn(count):
    """Parameters of random trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, space = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), sweep_of(NAME).nodes()
    for _ in range(count):
        trial = study.ask()
        suggest(space, trial)
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


def test_where_rungs_rank_as_the_end_does_asha_finds_more_than_random_search(table):
    methods = ("random", "asha")
    found = [[steps[-1].fresh for steps in replays(each, table, nearest(table), 3, 6)] for each in methods]
    assert sum(found[1]) < sum(found[0])
