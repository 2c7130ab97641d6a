"""Verdicts on whole simulated sweeps of the product's session are as sure as they say."""

import optuna
import pytest
from verdict_coverage import BETTER, BUDGET, WORSE, MadeUpFamilies, count, sweep

from gensweep.verdict.frontier import frontier

SWEEPS = 30


@pytest.mark.trains
def test_equal_families_of_unlike_speeds_are_rarely_called_sure():
    """With the default sampler and scheduler, of which few trials reach the budget."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    families = MadeUpFamilies(0.0, "unlike")
    judged = [frontier(sweep(families, 20, "asha", seed)) for seed in range(SWEEPS)]
    found = count(families, judged)
    assert found[f"sure of {BETTER}"] + found[f"sure of {WORSE}"] <= 10
    assert min(found[f"held of {BETTER}"], found[f"held of {WORSE}"]) >= 88
    assert all(sum(each.probabilities(BUDGET).values()) == pytest.approx(1) for each in judged)
