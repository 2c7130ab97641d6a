import numpy as np
import pytest

from gensweep.verdict.frontier import flips_between

BUDGETS = np.array([1.0, 10.0, 100.0])


def test_a_crossing_is_interpolated_in_the_logarithm_of_the_budget():
    difference = np.array([-1.0, -1.0, 1.0])
    found = flips_between(BUDGETS, difference, np.tile(difference, (40, 1)), 1)
    assert found == pytest.approx((10**1.5,) * 3)


def test_draws_without_a_crossing_open_the_interval():
    difference = np.array([-1.0, -1.0, 1.0])
    always_below, always_above = np.full((40, 3), -1.0), np.full((40, 3), 1.0)
    crossing = np.tile(difference, (400, 1))
    _, low, high = flips_between(BUDGETS, difference, np.concatenate([crossing, always_below]), 1)
    assert low is not None
    assert high is None
    _, low, high = flips_between(BUDGETS, difference, np.concatenate([crossing, always_above]), 1)
    assert low is None
    assert high is not None


def test_of_several_crossings_of_a_draw_the_nearest_counts():
    budgets = np.geomspace(1, 1e4, 5)
    difference = np.array([-1.0, -1, -1, -1, 1])
    draws = np.tile(np.array([-1.0, 1, -1, -1, 1]), (40, 1))
    assert flips_between(budgets, difference, draws, 3) == pytest.approx((10**3.5,) * 3)
