import numpy as np
import pytest
from curves_of import curve
from truths.band_coverage import POPULATIONS, training_coverage

from gensweep.compute.budget_scores import MOST_STOPS, budget_scores, scores_within
from gensweep.compute.expected_best import best_of_k, expected_best, tries_for

RUNGS = np.array([1.0, 4.0, 16.0, 64.0])


def test_a_budget_pays_for_the_best_score_until_then():
    made = curve("a", 0, [(1, 9), (2, 5), (4, 7), (8, 3)])
    scores, _ = scores_within([made], np.array([0.5, 1, 3, 5, 100]))
    assert scores[0] == pytest.approx([np.nan, 9, 5, 5, 3], nan_ok=True)


def test_a_training_that_was_stopped_goes_on_as_the_others_did():
    whole = [curve("a", index, [(1, 100 + index), (2, (100 + index) / 2)]) for index in range(3)]
    stopped = curve("a", 9, [(1, 300)], stopped=True)
    found = budget_scores([*whole, stopped], np.array([1.0, 2.0]))
    assert found.scores[:, 3] == pytest.approx([300, 150])
    assert found.scores[:, 0] == pytest.approx([100, 50])


def test_a_training_that_was_stopped_keeps_its_best_score_if_none_went_on_or_all_became_worse():
    stopped = curve("a", 9, [(1, 300)], stopped=True)
    worse = curve("a", 0, [(1, 100), (2, 120)])
    assert budget_scores([stopped, worse], np.array([2.0])).scores[0] == pytest.approx([300, 100])
    assert budget_scores([stopped], np.array([2.0])).scores[0] == pytest.approx([300])


def test_of_many_amounts_at_which_trainings_were_stopped_few_stand_for_all_and_none_gets_a_better_score_by_it():
    step = 1.035
    stops = step ** np.arange(2 * MOST_STOPS)
    spent = [*stops, 2 * stops[-1]]
    starts = np.linspace(20, 40, len(stops))
    falling = [[(each, start * each**-0.5) for each in spent] for start in (10, 11, 12, *starts)]
    whole = [curve("a", number, points) for number, points in enumerate(falling[:3])]
    cut = [
        curve("a", 3 + number, points[number : number + 1], stopped=True) for number, points in enumerate(falling[3:])
    ]
    found = budget_scores([*whole, *cut], np.array(spent[-1:])).scores[0, 3:] / (starts * spent[-1] ** -0.5)
    assert found.min() == pytest.approx(1)
    assert 1 < found.max() <= step * (1 + 1e-9)  # a stop stands for itself and the one or two before it


def test_a_training_that_ended_by_itself_keeps_its_score():
    ended = curve("a", 0, [(1, 300)])
    other = curve("a", 1, [(1, 100), (2, 50)])
    assert budget_scores([ended, other], np.array([2.0])).scores[0] == pytest.approx([300, 50])


def test_trainings_of_a_configuration_count_once_with_the_variance_between_them():
    seeds = [curve("a", index, [(1, value)], configuration="x") for index, value in enumerate([90, 100, 110])]
    others = [curve("a", index, [(1, 200)], error=2.0) for index in range(3, 5)]
    found = budget_scores([*seeds, *others], np.array([1.0]))
    assert found.configurations == ("x", "a/3", "a/4")
    assert found.scores[0] == pytest.approx([100, 200, 200])
    assert np.sqrt(found.variances[0]) == pytest.approx([10 / np.sqrt(3), 20, 20])


def test_with_one_seed_everywhere_the_variance_is_that_of_the_score():
    found = budget_scores([curve("a", index, [(1, 100)], error=3.0) for index in range(3)], np.array([1.0]))
    assert found.variances[0] == pytest.approx([9, 9, 9])


def test_a_training_that_failed_scores_what_it_did_until_then_and_after_that_the_worst_of_all():
    whole = [curve("a", index, [(1, 100 + index), (4, 50 + index)]) for index in range(3)]
    broke, never = curve("a", 8, [(1, 90), (2, 80)], failed=True), curve("a", 9, [], failed=True)
    found = budget_scores([*whole, broke, never], np.array([1.0, 2.0, 4.0]))
    assert found.scores[:, 3] == pytest.approx([90, 80, 52])
    assert found.scores[:, 4] == pytest.approx([102, 102, 52])
    assert found.failed[:, 3:].tolist() == [[False, True], [False, True], [True, True]]
    other = budget_scores([*whole, broke, never], np.array([4.0]), failure=np.array([70.0]))
    assert other.scores[0] == pytest.approx([50, 51, 52, 70, 70])


def test_trainings_that_failed_say_nothing_of_how_scores_differ_between_seeds():
    seeds = [curve("a", index, [(1, value)], configuration="x") for index, value in enumerate([90, 100, 110])]
    failed = curve("a", 3, [], configuration="x", failed=True)
    lost = curve("a", 4, [], failed=True)
    found = budget_scores([*seeds, failed, lost], np.array([1.0]))
    assert found.scores[0] == pytest.approx([(90 + 100 + 110 + 110) / 4, 110])
    assert np.sqrt(found.variances[0, 0]) == pytest.approx(0.1 * 102.5 / 2, rel=0.01)


def test_failures_do_not_hide_the_errors_of_the_other_scores():
    scores, failed = np.array([90.0, 100.0, 110.0, 400.0]), np.array([False, False, False, True])
    certain = best_of_k(scores[:3], 2, variances=100.0).value  # all of the spread is error, so the best is the mean
    assert certain == pytest.approx(100)
    assert best_of_k(scores, 2, variances=100.0, failed=failed).value == pytest.approx(100)
    assert best_of_k(scores, 2, variances=100.0).value < 98


@pytest.mark.trains
@pytest.mark.parametrize("population", list(POPULATIONS))
def test_bands_hold_where_a_quarter_of_the_trainings_fails(population):
    for n in (12, 40):
        found = training_coverage(
            POPULATIONS[population], n, tries_for(n), 1000, np.random.default_rng(0), failing=0.25
        )
        assert 92 <= found.covered <= 99.8, (n, found)
        assert abs(found.bias) < 4


def halved(rng, n):
    """Power laws with a floor, of which half is stopped at each of the first two rungs; and what all would score."""
    floor, start = 30 * rng.lognormal(0, 0.3, n), 150 * rng.lognormal(0, 0.5, n)
    scores = floor[:, None] + start[:, None] * RUNGS ** -rng.normal(0.6, 0.1, n).clip(0.2)[:, None]
    last, left = np.full(n, len(RUNGS) - 1), np.arange(n)
    for rung in (0, 1):
        left = left[np.argsort(scores[left, rung])]
        last[left[len(left) // 2 :]] = rung
        left = left[: len(left) // 2]
    made = [
        curve("a", index, zip(RUNGS[: end + 1], row, strict=False), stopped=end + 1 < len(RUNGS))
        for index, (end, row) in enumerate(zip(last, scores, strict=True))
    ]
    return made, scores[:, -1]


@pytest.mark.trains
def test_bands_hold_where_half_is_stopped_at_each_rung_and_the_bias_is_towards_too_bad():
    rng, held, centres = np.random.default_rng(0), 0, []
    truth = np.mean([expected_best(halved(rng, 200)[1], 6) for _ in range(300)])
    for _ in range(300):
        found = budget_scores(halved(rng, 20)[0], RUNGS[-1:])
        best = best_of_k(found.scores, 6, variances=found.variances)
        held += best.band[0][0] <= truth <= best.band[1][0]
        centres.append(best.value[0])
    assert 0.92 <= held / 300 <= 0.99
    assert truth < np.mean(centres) < 1.15 * truth


@pytest.mark.trains
def test_bands_hold_where_the_best_are_trained_again_with_other_seeds():
    rng, held = np.random.default_rng(0), 0
    truth = float(rng.lognormal(4, 0.3, (100_000, 4)).min(1).mean())
    for _ in range(400):
        true = rng.lognormal(4, 0.3, 12)
        first = true * (1 + 0.1 * rng.standard_normal(12))
        made = [curve("a", index, [(1, value)]) for index, value in enumerate(first)]
        for index in np.argsort(first)[:3]:
            again = true[index] * (1 + 0.1 * rng.standard_normal(2))
            made += [curve("a", 100 + index, [(1, value)], configuration=f"a/{index}") for value in again]
        found = budget_scores(made, np.ones(1))
        low, high = best_of_k(found.scores, 4, variances=found.variances).band
        held += low[0] <= truth <= high[0]
    assert 0.92 <= held / 400 <= 0.985
