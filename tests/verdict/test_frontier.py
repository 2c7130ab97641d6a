from dataclasses import replace

import numpy as np
import pytest
from curves_of import curve, family

from gensweep.verdict.frontier import common_budgets, frontier

BUDGETS = np.geomspace(1, 64, 13)


def early(budget):
    """Soon good, and then hardly better: 40 at a budget of 8."""
    return 40 * (budget / 8) ** -0.1


def late(budget):
    """Bad at first: 40 at a budget of 8."""
    return 40 * (budget / 8) ** -0.6


def test_the_common_range_is_where_all_groups_have_scores():
    made = [curve("a", 0, [(1, 9), (10, 5)]), curve("a", 1, [(2, 9), (4, 5)]), curve("b", 0, [(3, 5), (8, 2)])]
    assert common_budgets(made) == (3, 8)
    assert common_budgets(made, {"a": 100.0, "b": 1.0}) == (4, 108)
    assert common_budgets([curve("a", 0, [(1, 9)]), curve("b", 0, [(3, 5)])]) is None
    assert common_budgets([curve("a", 0, [(1, 9)]), curve("b", 0, [(1.01, 5)])]) == (1.01, 1.01)


def test_a_group_does_not_win_because_more_of_it_was_tried():
    rng, wins = np.random.default_rng(0), []
    for _ in range(60):
        found = frontier(family(rng, "many", 40, early, [1.0]) + family(rng, "few", 10, early, [1.0]))
        wins.append(found.probabilities(1.0)["many"])
    assert np.mean(wins) == pytest.approx(0.5, abs=0.1)


def test_the_better_group_is_found_with_its_band():
    rng = np.random.default_rng(0)
    found = frontier(family(rng, "a", 20, early, BUDGETS) + family(rng, "b", 20, lambda x: early(x) / 2, BUDGETS))
    assert found.probabilities(BUDGETS[-1])["b"] > 0.95
    last = found.curves[1].points[-1]
    assert last.budget == BUDGETS[-1]
    assert last.low < last.best < last.high


def test_family_that_often_fails_loses():
    rng = np.random.default_rng(0)
    steady = family(rng, "steady", 20, early, [1.0, 4.0])
    broken = [replace(each, group="broken", failed=index % 5 > 1) for index, each in enumerate(steady)]
    broken = [replace(each, points=()) if each.failed else each for each in broken]
    alike = frontier([*steady, *(replace(each, group="broken") for each in steady)])
    assert alike.probabilities(4.0)["broken"] == pytest.approx(0.5, abs=0.05)
    found = frontier([*steady, *broken])
    assert found.probabilities(4.0)["broken"] < 0.3
    assert [(item.failed, item.trainings, item.configurations) for item in found.curves] == [(0, 20, 20), (12, 20, 8)]
    assert found.curves[1].points[-1].best > 1.1 * found.curves[0].points[-1].best


@pytest.mark.parametrize(("whole", "supported"), [(3, False), (8, True)])
def test_a_flip_needs_trainings_known_beyond_it(whole, supported):
    rng = np.random.default_rng(0)
    made = family(rng, "early", 16, early, BUDGETS, spread=0.05) + family(rng, "late", 16, late, BUDGETS, spread=0.05)
    cut = [replace(each, points=each.points[:4], stopped_early=True) for each in made]
    found = frontier([each if int(each.trial.partition("/")[2]) < whole else cut[n] for n, each in enumerate(made)])
    assert [(flip.below, flip.above, flip.supported) for flip in found.flips] == [("early", "late", supported)]
    assert max(found.probabilities(BUDGETS[-1]).values()) == pytest.approx(1.0 if supported else 0.9)


def test_what_images_cost_to_draw_is_part_of_the_budget():
    made = [curve("gan", index, [(1, 50 + index), (10, 40 + index)]) for index in range(3)]
    made += [curve("diffusion", index, [(1, 30 + index), (10, 20 + index)]) for index in range(3)]
    found = frontier(made, overheads={"gan": 0.0, "diffusion": 100.0})
    gan, diffusion = (item.points for item in found.curves)
    assert (gan[0].budget, gan[-1].budget) == pytest.approx((1, 110))
    assert diffusion[0].budget >= 101
    assert found.probabilities(found.budgets[0]) == {"gan": 1.0, "diffusion": 0.0}
    (flip,) = found.flips
    assert (flip.below, flip.above) == ("gan", "diffusion")
    assert 90 <= flip.low <= flip.value <= flip.high <= 111


@pytest.mark.trains
def test_interval_of_a_flip_holds_the_true_budget():
    rng, held, supported = np.random.default_rng(1), 0, 0
    scored = np.geomspace(1, 64, 25)
    first = scored[np.argmax(scored > 8 * 1.01)]
    for _ in range(150):
        made = family(rng, "early", 24, early, scored, spread=0.2) + family(rng, "late", 24, late, scored, spread=0.2)
        flips = [flip for flip in frontier(made).flips if flip.supported]
        assert [(flip.below, flip.above) for flip in flips] in ([], [("early", "late")])
        supported += len(flips)
        held += sum(flip.low <= first and flip.high >= 8 for flip in flips)
    assert supported > 100
    assert held / supported > 0.92
