import math

import numpy as np
import pytest
from curves_of import curve
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gensweep.verdict.standings import chances_of_best, standings


def test_configurations_are_ranked_by_the_mean_of_their_trainings():
    lucky = curve("a", 0, [(1, 30), (10, 5)], error=1.0)
    twice = [curve("a", index, [(1, value)], configuration="x") for index, value in enumerate([20, 30], 1)]
    late = curve("a", 3, [(5, 1)])
    found = standings([lucky, *twice, late], 4)
    assert [(row.score, row.trainings, row.curve.trial) for row in found] == [(25, 2, "a/1"), (30, 1, "a/0")]
    low, high = found[0].interval
    # Of scores of one sign the logarithm is taken: an interval from two seeds reaches no score that there cannot be.
    assert (low * high) ** 0.5 == pytest.approx(25)
    assert math.log(high / low) == pytest.approx(2 * 12.706 * found[0].error / 25, rel=1e-3)
    assert found[0].error == pytest.approx(25 * (2 * 0.2**2) ** 0.5 / 2**0.5)


def test_what_a_group_pays_beside_the_training_is_part_of_the_budget():
    made = [curve("gan", 0, [(1, 50)]), curve("diffusion", 0, [(1, 30)])]
    assert [row.curve.group for row in standings(made, 2, {"diffusion": 1.5})] == ["gan"]
    assert standings(made, 0.5) == []


def test_chances_of_a_few_models_follow_the_errors_of_their_scores():
    assert chances_of_best([10, 20], [1, 1]) == pytest.approx([1, 0])
    assert chances_of_best([10, 10], [1, 1]) == pytest.approx([0.5, 0.5], abs=0.03)
    assert chances_of_best([10, 10], [0, 0]) == pytest.approx([0.5, 0.5])
    assert chances_of_best([10, 10 + 2**0.5], [1, 1])[0] == pytest.approx(0.841, abs=0.02)


def seeded(rows, seeds=None):
    """Trainings by configuration and seed."""
    seeds = seeds or [range(len(row)) for row in rows]
    named = [(name, row, each) for name, row, each in zip("abcdefg", rows, seeds, strict=False)]
    return [
        curve("g", f"{name}{seed}", [(1, value)], configuration=name, seed=seed)
        for name, row, each in named
        for seed, value in zip(each, row, strict=True)
    ]


def chances(found):
    apart = [row.error_apart for row in found]
    return chances_of_best([row.score for row in found], apart, found[0].freedom_apart)


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_same_seeds_give_the_chance_of_a_paired_t_test(seed, seeds):
    rng = np.random.default_rng(seed)
    rows = np.array([[0.0], [0.4]]) + rng.normal(0, 3, seeds) + rng.normal(0, 0.5, (2, seeds))
    rows -= rows.mean()  # of both signs: taken as they are
    found = standings(seeded(rows), 1)
    first, second = (rows["ab".index(row.configuration)] for row in found)
    assert chances(found)[0] == pytest.approx(stats.ttest_rel(first, second, alternative="greater").pvalue, abs=0.03)


@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(2, 5))
def test_other_seeds_give_the_chance_of_a_t_test_of_two_samples(seed, n, m):
    rng = np.random.default_rng(seed)
    rows = [rng.normal(-0.3, 1, n), rng.normal(0.3, 1, m)]
    rows = [row - np.mean(np.concatenate(rows)) for row in rows]
    found = standings(seeded(rows, [range(n), range(10, 10 + m)]), 1)
    first, second = (rows["ab".index(row.configuration)] for row in found)
    assert found[0].error_apart == found[0].error
    assert chances(found)[0] == pytest.approx(stats.ttest_ind(first, second, alternative="greater").pvalue, abs=0.03)


@given(st.integers(0, 2**32), st.floats(-5, 5))
def test_luck_that_all_trainings_of_a_seed_share_decides_nothing(seed, luck):
    rows = np.random.default_rng(seed).lognormal(3, 0.1, (4, 3))
    lucky = rows * np.exp([0.0, luck, 0.0])
    pairs = list(zip(standings(seeded(rows), 1), standings(seeded(lucky), 1), strict=True))
    for one, other in pairs:
        assert other.error_apart / other.score == pytest.approx(one.error_apart / one.score, rel=1e-6)
        assert other.freedom_apart == one.freedom_apart == 6
    assert abs(luck) < 3 or all(other.error > other.error_apart for _, other in pairs)


def test_of_other_seeds_nothing_is_known_without_repeats():
    assert standings([curve("a", 0, [(1, 30)], error=1.0)], 1)[0].interval is None
