"""Shares of variance: against made-up populations whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from truths.variance_shares import CLIFFS, TRUTHS, share_coverage

from gensweep.verdict.importance import Population, decomposed, factor_of

#: Populations for each truth.
REPEATS = 100
#: A bootstrap of a share that is skewed holds a little less than it says; see docs/verdict.md.
LOWEST_COVERAGE = 84.0


@pytest.mark.trains
@pytest.mark.parametrize("truth", TRUTHS, ids=str)
def test_intervals_hold_the_truth_and_estimates_have_no_bias(truth):
    found = share_coverage(truth, 50, REPEATS)
    assert [each for each in found if each.covered < LOWEST_COVERAGE] == []
    # Shares below 0 are shown as 0, at the cost of the rest.
    assert [each for each in found if each.name != "rest" and abs(each.mean - each.truth) > 0.04] == []
    assert all(-0.12 < each.mean - each.truth < 0.05 for each in found)


@pytest.mark.trains
@pytest.mark.parametrize("trials", [20, 40])
@pytest.mark.parametrize("truth", CLIFFS, ids=str)
def test_a_cliff_has_its_share_within_a_tenth(truth, trials):
    found = {each.name: each.mean for each in share_coverage(truth, trials, REPEATS)}
    assert found == pytest.approx(truth.shares, abs=0.1)


@pytest.mark.parametrize(("row", "highest"), [(15, 0.1), (29, 1.0)])
def test_one_outlier_is_not_surely_a_step(row, highest):
    """At the end of a range it may be the first trial above a cliff."""
    x, y = np.linspace(0, 1, 30), 0.01 * np.random.default_rng(0).normal(size=30)
    y[row] += 1
    found = decomposed(Population(y, {"a": np.arange(30)}, {"a": [factor_of("x", range(30), x.tolist(), y)]}))
    assert found.within["a", "x"].low == 0
    assert found.within["a", "x"].share <= highest


def test_an_uncertain_share_does_not_lower_a_certain_one():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 12)
    noise = np.concatenate([x[6:], x[:6]]) + 0.2 * rng.normal(size=12)  # looks as if it mattered
    factors = [factor_of(name, range(12), each.tolist(), x) for name, each in (("x", x), ("noise", noise))]
    found = decomposed(Population(x, {"a": np.arange(12)}, {"a": factors}))
    assert found.within["a", "x"].share > 0.99


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.floats(-1e3, 1e3), st.sampled_from("ab"), st.integers(0, 3), st.sampled_from(["x", "y"]), st.booleans()
        ),
        min_size=2,
        max_size=25,
    )
)
def test_shares_are_parts_of_one_whole_whatever_the_scores(rows):
    y = np.array([row[0] for row in rows])
    groups = {name: np.array(found) for name in "ab" if (found := [n for n, row in enumerate(rows) if row[1] == name])}
    factors = {
        name: [
            factor
            for place in (2, 3, 4)
            if (factor := factor_of(str(place), found, [rows[n][place] for n in found], y)) is not None
        ]
        for name, found in groups.items()
    }
    found = decomposed(Population(y, groups, factors))
    estimates = [*found.within.values(), found.rest, *([] if found.between is None else [found.between])]
    assert sum(each.share for each in estimates) == pytest.approx(1)
    for each in estimates:
        assert -1e-9 <= each.low <= each.share <= each.high <= 1 + 1e-9


def test_twins_share_what_they_explain():
    """Two settings that always change together explain no more than there is."""
    x = np.linspace(0, 1, 30)
    twins = [factor_of(name, range(30), x.tolist(), x) for name in ("one", "two")]
    found = decomposed(Population(x, {"a": np.arange(30)}, {"a": twins}))
    assert [each.share for each in found.within.values()] == pytest.approx([0.5, 0.5])
    assert found.rest.share == pytest.approx(0)


def test_a_setting_that_is_best_in_the_middle_is_found():
    x = np.linspace(0, 1, 40)
    y = (x - 0.5) ** 2
    found = decomposed(Population(y, {"a": np.arange(40)}, {"a": [factor_of("x", range(40), x.tolist(), y)]}))
    assert found.within["a", "x"].share > 0.99


@pytest.mark.parametrize("values", [[1, 1, 1, 1, 1, 1], ["a", "b", "c", "d", "e", "f"], [1.0, 2.0, 3.0]])
def test_what_does_not_vary_or_has_too_few_trials_is_no_factor(values):
    assert factor_of("x", range(len(values)), values, np.arange(float(len(values)))) is None
