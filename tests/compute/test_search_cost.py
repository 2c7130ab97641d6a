import numpy as np
import pytest
from curves_of import curve
from truths.band_coverage import POPULATIONS, search_coverage

from gensweep.compute.expected_best import MIN_CONFIGURATIONS, expected_best, tries_for
from gensweep.compute.search_cost import MOST_SIZES, search_bests, search_frontier


def test_a_stopped_trial_adds_its_best_score_and_what_it_really_spent():
    made = [curve("a", 0, [(1, 9), (10, 5)]), curve("a", 1, [(1, 8)], stopped=True), curve("a", 2, [(1, 7), (10, 6)])]
    points = search_frontier(made)
    assert [point.budget for point in points] == pytest.approx([7, 14, 21])
    assert [point.best for point in points] == pytest.approx([19 / 3, 16 / 3, 5])
    assert points[0].low is None


def test_repeats_of_a_configuration_are_no_draws_of_the_search():
    made = [curve("a", 0, [(1, 9)]), curve("a", 1, [(1, 8)])]
    again = curve("a", 2, [(1, 1)], configuration="a/0")
    assert search_frontier([*made, again]) == search_frontier(made)


def test_a_trial_that_failed_costs_what_it_spent_and_brings_nothing():
    made = [curve("a", index, [(1, 9), (10, 5 + index)]) for index in range(2)]
    broke, never = curve("a", 2, [(1, 1), (4, 1)], failed=True), curve("a", 3, [], failed=True)
    points = search_frontier([*made, broke, never])
    assert [point.budget for point in points] == pytest.approx([25 / 4, 50 / 4, 75 / 4, 25])
    assert [points[0].best, points[-1].best] == pytest.approx([(5 + 6 + 6 + 6) / 4, 5])
    assert search_frontier([*made, broke, never], 30.0)[0].best == pytest.approx((5 + 6 + 30 + 30) / 4)


def test_bands_end_at_a_third_of_the_trials():
    made = [curve("a", index, [(1 + index, 50 + index)]) for index in range(12)]
    assert [point.low is not None for point in search_frontier(made)] == [True] * 4 + [False] * 8


def test_trials_that_failed_make_up_no_band():
    made = [curve("a", index, [(1 + index, 50 + index)]) for index in range(MIN_CONFIGURATIONS)]
    failed = [curve("a", 20 + index, [(1, 90)], failed=True) for index in range(4)]
    assert search_frontier([*made, *failed])[0].low is not None
    assert all(point.low is None for point in search_frontier([*made[1:], *failed]))


def test_a_budget_between_whole_numbers_of_trials_buys_what_lies_between():
    scores, costs = np.array([5.0, 7, 9, 4, 6]), np.full(5, 10.0)
    one, two = (float(expected_best(scores, k)) for k in (1, 2))
    found = [float(best.value) for best in search_bests(scores, costs, [10, 15])]
    assert found == pytest.approx([one, (one + two) / 2])


def test_a_curve_of_many_trials_has_few_points_which_lie_where_all_of_them_would(monkeypatch):
    rng = np.random.default_rng(0)
    made = [curve("a", index, [(float(rng.uniform(1, 9)), float(rng.lognormal(3, 1)))]) for index in range(700)]
    few = search_frontier(made)
    monkeypatch.setattr("gensweep.compute.search_cost.MOST_SIZES", 700)
    all_of_them = search_frontier(made)
    assert len(few) <= MOST_SIZES < len(all_of_them) == 700
    assert [few[0], few[-1]] == [all_of_them[0], all_of_them[-1]]
    by_budget = {point.budget: point for point in all_of_them}
    for point in few:
        same = by_budget[point.budget]
        assert point.best == same.best
        assert (point.low is None) == (same.low is None)
        if point.low is not None:
            assert (point.low, point.high) == pytest.approx((same.low, same.high), rel=1e-3)


@pytest.mark.trains
@pytest.mark.parametrize("n", [MIN_CONFIGURATIONS, 20])
@pytest.mark.parametrize("population", list(POPULATIONS))
def test_bands_of_searches_with_stopped_trials_hold_the_truth(population, n):
    for k in (1, tries_for(n)):
        found = search_coverage(POPULATIONS[population], n, k, 2000, np.random.default_rng(0))
        assert 91.5 <= found.covered <= 99.2, (k, found)
