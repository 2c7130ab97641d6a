"""The sequential test: its error over all looks, and its decisions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gensweep.extras.judge.sequential import judge_pairs, look, p_bounds

RULES = {"most": 5, "error_rate": 0.05, "min_gain": 0.01}
SCORES = st.lists(st.floats(50, 150), min_size=5, max_size=5, unique=True).map(np.array)


def decide(base, candidate, **changes):
    """The looks at pairs until one decides."""
    return judge_pairs(np.array(base), np.array(candidate), **RULES | changes)


def kept(count=1000, *, gain=0.0, spread=0.05, alike=0.0, **changes):
    """How many judgements keep a candidate; scores are normal, and the two of a pair correlate by `alike`."""
    random = np.random.default_rng(1)
    base, own = random.standard_normal((2, count, 5))
    candidate = alike * base + math.sqrt(1 - alike**2) * own
    pairs = zip(1 + spread * base, (1 - gain) * (1 + spread * candidate), strict=True)
    return sum(decide(*each, **changes)[-1].decision == "keep" for each in pairs)


def test_two_pairs_are_one_test_of_student():
    assert p_bounds(2, 0.05) == pytest.approx([0.05], rel=0.02)


@pytest.mark.parametrize(("spread", "alike"), [(0.02, 0.0), (0.2, 0.0), (0.05, 0.9)])
def test_noise_is_kept_at_most_with_the_declared_probability(spread, alike):
    count = kept(1500, spread=spread, alike=alike, min_gain=0.0)
    assert stats.binomtest(count, 1500, 0.05, alternative="greater").pvalue > 0.01


def test_a_large_gain_is_kept_and_pairs_that_are_alike_show_it_sooner():
    assert 750 < kept(gain=0.1, spread=0.05) < kept(gain=0.1, spread=0.05, alike=0.7)
    assert kept(gain=0.1, spread=0.1) < 500


@given(SCORES, SCORES, st.integers(2, 5))
def test_the_p_value_is_that_of_the_paired_test_of_student(base, candidate, n):
    found = look(base[:n], candidate[:n], **RULES)
    p = stats.ttest_rel(base[:n], candidate[:n], alternative="greater").pvalue
    assert found.gain == pytest.approx((base[:n].mean() - candidate[:n].mean()) / base[:n].mean())
    assert (found.decision == "keep") == (p < p_bounds(5, 0.05)[n - 2] and found.gain >= 0.01)
    assert found.high - found.gain == pytest.approx(found.gain - found.low)


@given(SCORES, SCORES)
def test_the_scale_of_the_scores_does_not_matter(base, candidate):
    one, other = (look(scale * base[:3], scale * candidate[:3], **RULES) for scale in (1, 1000))
    assert (one.gain, one.low, one.decision) == (pytest.approx(other.gain), pytest.approx(other.low), other.decision)


def test_a_worse_candidate_is_discarded_after_two_pairs():
    assert [each.decision for each in decide([100, 103], [150, 149])] == ["undecided", "discard"]


def test_a_gain_below_the_smallest_that_matters_is_not_kept():
    base, candidate = [100.0, 100.001, 100.002, 100.001, 100.0], [99.5, 99.501, 99.503, 99.5, 99.502]
    assert decide(base, candidate, min_gain=0.001)[-1].decision == "keep"
    assert decide(base, candidate, min_gain=0.01)[-1].decision == "discard"


def test_one_pair_says_nothing_about_the_error():
    assert math.isinf(decide([100, 101], [50, 50])[0].low)
