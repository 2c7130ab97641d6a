import math

import pytest
from curves_of import curve

from gensweep.compute.standings import chances_of_best, standings


def test_configurations_stand_by_the_mean_of_their_trainings_within_the_budget():
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


def test_of_other_seeds_nothing_is_known_without_repeats():
    assert standings([curve("a", 0, [(1, 30)], error=1.0)], 1)[0].interval is None
