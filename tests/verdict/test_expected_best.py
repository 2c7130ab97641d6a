import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from truths.band_coverage import POPULATIONS, training_coverage

from gensweep.verdict.expected_best import (
    MIN_CONFIGURATIONS,
    best_of_k,
    drawn_together,
    expected_best,
    tries_for,
    without_each,
)

SCORES = st.lists(st.floats(0.1, 1000), min_size=3, max_size=7)


def plug_in(scores, k):
    """Dodge et al. 2019: draws with replacement."""
    n, ranked = len(scores), np.sort(scores)
    shares = np.linspace(1, 0, n + 1) ** k
    return float(ranked @ (shares[:-1] - shares[1:]))


@settings(deadline=None, max_examples=60)
@given(SCORES, st.integers(1, 3))
def test_expected_best_is_the_mean_over_all_choices_of_k(scores, k):
    choices = [min(choice) for choice in itertools.combinations(scores, k)]
    assert expected_best(np.array(scores), k) == pytest.approx(np.mean(choices))


def test_expected_best_has_no_bias_and_the_plug_in_comes_out_too_bad():
    draws = np.random.default_rng(0).exponential(1, (40_000, 6))
    assert expected_best(draws, 3).mean() == pytest.approx(1 / 3, abs=0.005)
    assert np.mean([plug_in(row, 3) for row in draws[:4000]]) > 1 / 3 + 0.05


@settings(deadline=None, max_examples=60)
@given(SCORES, st.integers(1, 2))
def test_without_each_is_the_expected_best_of_the_others(scores, k):
    rows = np.array(scores)
    others = [float(expected_best(np.delete(rows, index), k)) for index in range(len(rows))]
    assert without_each(rows, k) == pytest.approx(others)


def test_the_band_of_the_best_of_one_is_students_interval_of_the_mean():
    scores = np.array([-1.0, 2.0, 0.5, 3.0, 4.0])
    low, high = best_of_k(scores, 1).band
    expected = stats.t.interval(0.95, 4, scores.mean(), stats.sem(scores))
    assert (float(low), float(high)) == pytest.approx(expected)


def test_bands_of_positive_scores_scale_with_the_scores_and_stay_positive():
    scores = np.random.default_rng(0).lognormal(0, 2, 9)
    ends = best_of_k(scores, 3).band
    assert best_of_k(1000 * scores, 3).band == pytest.approx([1000 * end for end in ends])
    assert 0 < ends[0] < expected_best(scores, 3) < ends[1]


def test_draws_spread_as_one_side_of_a_comparison():
    scores = np.random.default_rng(0).lognormal(0, 0.5, (1, 12)) * np.array([[1.0], [2.0]])
    best = best_of_k(scores, 4)
    draws = best.draws(40_000, np.random.default_rng(1))
    reach = np.quantile(draws, 0.975, axis=0) - best.centre
    assert reach == pytest.approx(stats.t.ppf(0.975, 2 * best.freedom) * best.error, rel=0.03)
    assert np.ptp(draws[:, 1] - draws[:, 0]) < 1e-9


def test_errors_of_scores_are_taken_away():
    rng = np.random.default_rng(0)
    true = rng.normal(100, 10, (4000, 30))
    noisy = true + rng.normal(0, 8, true.shape)
    all_of_them = np.full(true.shape, True)
    assert drawn_together(true, np.zeros(true.shape), all_of_them) == pytest.approx(true)
    calmed = drawn_together(noisy, np.full(true.shape, 64.0), all_of_them)
    assert calmed.var(1, ddof=1).mean() == pytest.approx(100, rel=0.05)
    assert expected_best(noisy, 5).mean() < expected_best(true, 5).mean() - 3
    assert expected_best(calmed, 5).mean() == pytest.approx(expected_best(true, 5).mean(), abs=0.6)


@pytest.mark.trains
@pytest.mark.parametrize("error", [0.0, 0.1])
@pytest.mark.parametrize("n", [MIN_CONFIGURATIONS, 20])
@pytest.mark.parametrize("population", list(POPULATIONS))
def test_bands_hold_the_truth_in_92_to_98_of_100_repeats(population, n, error):
    rng = np.random.default_rng(0)
    for k in (1, tries_for(n)):
        found = training_coverage(POPULATIONS[population], n, k, 2000, rng, error=error)
        # One per cent more: in docs/verdict.md some bands of mixtures hold it in 99 of 100.
        assert 91.5 <= found.covered <= 99.2, (k, found)
