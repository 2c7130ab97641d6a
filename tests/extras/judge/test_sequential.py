"""The sequential test: its error over all looks, and its decisions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gensweep.extras.judge.sequential import look, p_bounds

RULES = {"most": 5, "error": 0.05, "least_gain": 0.01}
SCORES = st.lists(st.floats(50, 150), min_size=5, max_size=5, unique=True).map(np.array)


def decide(base, candidate, known=0, **changes):
    """The looks at pairs until one decides."""
    rules = {**RULES, **changes}
    looks = []
    for n in range(1, rules["most"] + 1):
        looks.append(look(np.array(base), np.array(candidate[:n]), known=known, **rules))
        if looks[-1].decision != "undecided":
            break
    return looks


def trainings(count, *, gain=0.0, spread=0.05, seed=1):
    """Scores of a base with nine seeds, and of a candidate with five, normally distributed."""
    random = np.random.default_rng(seed)
    base = 100 * (1 + spread * random.standard_normal((count, 9)))
    return base, 100 * (1 - gain) * (1 + spread * random.standard_normal((count, 5)))


@pytest.mark.parametrize("known", [2, 4])
def test_a_single_look_is_a_test_of_student(known):
    assert p_bounds(1, known, 0.05) == pytest.approx([0.05], rel=0.02)


@pytest.mark.parametrize(("known", "spread"), [(1, 0.02), (1, 0.2), (4, 0.05), (9, 0.05)])
def test_noise_is_kept_at_most_with_the_declared_probability(known, spread):
    base, candidate = trainings(1500, spread=spread)
    kept = sum(decide(b, c, known, least_gain=0.0)[-1].decision == "keep" for b, c in zip(base, candidate, strict=True))
    assert stats.binomtest(kept, 1500, 0.05, alternative="greater").pvalue > 0.01


def test_a_large_gain_is_kept_and_known_seeds_of_the_base_help():
    base, candidate = trainings(300, gain=0.1, spread=0.04)
    power = [
        sum(decide(b, c, known)[-1].decision == "keep" for b, c in zip(base, candidate, strict=True)) / 300
        for known in (1, 5)
    ]
    assert 0.8 < power[0] < power[1]


@given(SCORES, SCORES, st.integers(1, 5), st.integers(2, 5))
def test_the_p_value_is_that_of_two_samples(base, candidate, n, known):
    found = look(base, candidate[:n], known=known, **RULES)
    base = base[: max(n, known)]
    p = stats.ttest_ind(base, candidate[:n], alternative="greater").pvalue
    assert found.gain == pytest.approx((base.mean() - candidate[:n].mean()) / base.mean())
    assert (found.decision == "keep") == (p < p_bounds(5, known, 0.05)[n - 1] and found.gain >= 0.01)
    assert found.high - found.gain == pytest.approx(found.gain - found.low)


@given(SCORES, SCORES)
def test_the_scale_of_the_scores_does_not_matter(base, candidate):
    one, other = (look(scale * base[:3], scale * candidate[:3], known=3, **RULES) for scale in (1, 1000))
    assert (one.gain, one.low, one.decision) == (pytest.approx(other.gain), pytest.approx(other.low), other.decision)


def test_a_worse_candidate_is_discarded_after_two_pairs():
    assert [each.decision for each in decide([100, 103, 101], [150, 149, 151])] == ["undecided", "discard"]


def test_a_gain_below_the_smallest_that_matters_is_not_kept():
    base, candidate = [100.0, 100.001, 100.002, 100.001, 100.0], [99.5, 99.501, 99.5, 99.502, 99.5]
    assert decide(base, candidate, least_gain=0.001)[-1].decision == "keep"
    assert decide(base, candidate, least_gain=0.01)[-1].decision == "discard"


def test_one_pair_decides_only_with_known_seeds_of_the_base():
    (first,) = decide([100, 101, 99, 100], [50], known=4)
    assert first.decision == "keep"
    assert math.isinf(decide([100, 101, 99, 100], [50, 50], known=1)[0].low)


def test_more_pairs_that_are_needed_would_be_enough():
    last = look(np.array([100.0, 110, 90, 104, 96]), np.array([93.0, 101, 88, 99, 90]), known=1, **RULES)
    assert last.decision == "undecided"
    reach = last.high - last.gain
    assert last.gain > reach * math.sqrt(5 / last.needed)
    assert last.gain <= reach * math.sqrt(5 / (last.needed - 1))
