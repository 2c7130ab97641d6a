"""A search that is replayed on a table of trials."""

import optuna
import pytest
from replays.populations import NearestConfigurations
from replays.table import sweep_of
from search_efficiency import SHARES, replays
from tables.load import Table, Training

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


def training(number, parameters, final):
    """One whose scores fall to the last one, in the same order at each point as at the end."""
    curve = {
        "flops": [BUDGET * share for share in SHARES],
        "scoring_flops": [SCORING * (point + 1) for point in range(4)],
        "score": [final * (2 - share) for share in SHARES],
    }
    return Training(f"000-{number:02d}", 0, "finished", None, parameters, {}, curve, "", "")


@pytest.fixture(scope="module")
def table():
    identity = {"metric": "fd", "extractor": "x", "samples": 2, "reference": "y", "quantisation": "z"}
    rows = [training(i, each, 100.0 + 7 * (i * 37 % 60)) for i, each in enumerate(drawn(60))]
    sweep = {"budget": {"flops": BUDGET}, "base": {"evaluation": {"at": SHARES[:-1]}}}
    return Table(NAME, {"identity": identity, "sweep": sweep}, tuple(rows))


def test_asha_beats_random_search_where_rungs_rank_as_the_end(table):
    nearest = NearestConfigurations(table, sweep_of(NAME).nodes(), SHARES)
    random, asha = (sum(steps[-1].fresh for steps in replays(m, table, nearest, 3, 6)) for m in ("random", "asha"))
    assert asha < random
