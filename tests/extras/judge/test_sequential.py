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


def trainings(count, *, gain=0.0, spread=0.05, alike=0.0, seed=1):
    """Normal scores of a base with nine seeds and of a candidate with five; those of a pair correlate by `alike`."""
    random = np.random.default_rng(seed)
    base, own = random.standard_normal((count, 9)), random.standard_normal((count, 5))
    candidate = alike * base[:, :5] + math.sqrt(1 - alike**2) * own
    return 100 * (1 + spread * base), 100 * (1 - gain) * (1 + spread * candidate)


def student(base, candidate, known):
    """The p-values of the paired test and of that of two samples with all known seeds for the variance."""
    n, base = len(candidate), base[: max(known, len(candidate))]
    p = [stats.ttest_rel(base[:n], candidate, alternative="greater").pvalue] if n > 1 else []
    freedom = len(base) - 1 + n - 1
    spread = math.sqrt(((len(base) - 1) * base.var(ddof=1) + (n * candidate.var())) / freedom)
    return [*p, stats.t.sf((base[:n] - candidate).mean() / spread / math.sqrt(2 / n), freedom)]


@pytest.mark.parametrize(
    ("known", "spread", "alike"),
    [(1, 0.02, 0.0), (1, 0.2, 0.0), (1, 0.05, 0.5), (1, 0.05, 0.95), (4, 0.05, 0.0), (9, 0.05, 0.5)],
)
def test_noise_is_kept_at_most_with_the_declared_probability(known, spread, alike):
    base, candidate = trainings(1500, spread=spread, alike=alike)
    kept = sum(decide(b, c, known, least_gain=0.0)[-1].decision == "keep" for b, c in zip(base, candidate, strict=True))
    assert stats.binomtest(kept, 1500, 0.05, alternative="greater").pvalue > 0.01


def kept(known=1, **settings):
    """The share of judgements that keep a candidate with a gain of 10 %."""
    base, candidate = trainings(300, gain=0.1, **settings)
    return sum(decide(b, c, known)[-1].decision == "keep" for b, c in zip(base, candidate, strict=True)) / 300


@pytest.mark.parametrize("known", [1, 9])
def test_a_large_gain_is_kept(known):
    assert kept(known, spread=0.05) > 0.78


def test_pairs_that_are_alike_show_a_gain_sooner():
    assert kept(spread=0.08) < 0.6
    assert kept(spread=0.08, alike=0.8) > 0.8


@given(SCORES, SCORES, st.integers(1, 5), st.integers(2, 5))
def test_the_p_value_is_that_of_the_better_test_of_student(base, candidate, n, known):
    found, p = look(base, candidate[:n], known=known, **RULES), min(student(base, candidate[:n], known))
    assert found.gain == pytest.approx((base[:n] - candidate[:n]).mean() / base[: max(n, known)].mean())
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
    last = look(np.array([100.0, 110, 90, 104, 96]), np.array([90.0, 98, 97, 89, 101]), known=1, **RULES)
    assert last.decision == "undecided"
    reach = last.high - last.gain
    assert last.gain > reach * math.sqrt(5 / last.needed)
    assert last.gain <= reach * math.sqrt(5 / (last.needed - 1))
