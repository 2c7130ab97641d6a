import numpy as np
import pytest
from curves_of import curve
from truths.band_coverage import POPULATIONS, training_coverage

from gensweep.verdict.budget_scores import budget_scores, scores_within
from gensweep.verdict.expected_best import best_of_k, expected_best, pooled, tries_for

RUNGS = np.array([1.0, 4.0, 16.0, 64.0])


def test_a_budget_pays_for_the_best_score_until_then():
    made = curve("a", 0, [(1, 9), (2, 5), (4, 7), (8, 3)])
    scores, _ = scores_within([made], np.array([0.5, 1, 3, 5, 100]))
    assert scores[0] == pytest.approx([np.nan, 9, 5, 5, 3], nan_ok=True)


def drawn(curves, budgets):
    """The logarithms of the scores in all draws."""
    return np.log([each.scores for each in budget_scores(curves, np.array(budgets))])


def test_a_stopped_training_is_predicted_from_longer_ones():
    whole = [curve("a", index, [(1, 100 + index), (2, (100 + index) / 2)]) for index in range(3)]
    stopped = curve("a", 9, [(1, 300)], stopped=True)
    found = drawn([*whole, stopped], [1.0, 2.0])
    assert np.exp(found.mean(0)[:, 3]) == pytest.approx([300, 150], rel=0.1)
    assert found.std(0)[:, :3] == pytest.approx(0, abs=1e-9)
    assert np.exp(found).max() == pytest.approx(300)


def test_stopped_slow_starters_are_expected_to_catch_up():
    """Scores of unlike slopes that meet at the end, and only the better half at the first rung is trained further."""
    starts = np.geomspace(60, 240, 12)
    whole = [curve("a", index, [(1, start), (8, 40)]) for index, start in enumerate(starts[:6])]
    stopped = [curve("a", 6 + index, [(1, start)], stopped=True) for index, start in enumerate(starts[6:])]
    found = np.exp(drawn([*whole, *stopped], [8.0]).mean(0)[0])
    assert found.max() < 50  # the change of the others would bring the last one to 93


def test_predictions_are_less_sure_with_fewer_longer_trainings():
    rng = np.random.default_rng(0)
    stopped = [
        curve("a", 100 + index, [(1, 100 * each)], stopped=True) for index, each in enumerate(rng.uniform(1, 2, 9))
    ]
    spreads = []
    for number in (2, 20):
        changes = 0.5 * rng.lognormal(0, 0.1, number)
        whole = [curve("a", index, [(1, 90 + index), (2, (90 + index) * each)]) for index, each in enumerate(changes)]
        spreads.append(drawn([*whole, *stopped], [2.0])[:, 0, number:].mean(1).std())
    assert spreads[1] > 0.01
    assert spreads[0] > 1.5 * spreads[1]


def test_a_training_that_ended_by_itself_keeps_its_score():
    ended = curve("a", 0, [(1, 300)])
    other = curve("a", 1, [(1, 100), (2, 50)])
    (found,) = budget_scores([ended, other], np.array([2.0]))
    assert found.scores[0] == pytest.approx([300, 50])


def test_trainings_of_a_configuration_count_once():
    seeds = [curve("a", index, [(1, value)], configuration="x") for index, value in enumerate([90, 100, 110])]
    others = [curve("a", index, [(1, 200)], error=2.0) for index in range(3, 5)]
    (found,) = budget_scores([*seeds, *others], np.array([1.0]))
    assert found.configurations == ("x", "a/3", "a/4")
    assert found.scores[0] == pytest.approx([100, 200, 200])
    assert np.sqrt(found.variances[0]) == pytest.approx([10 / np.sqrt(3), 20, 20])


def test_failed_training_scores_the_worst_of_all():
    whole = [curve("a", index, [(1, 100 + index), (4, 50 + index)]) for index in range(3)]
    broke, never = curve("a", 8, [(1, 90), (2, 80)], failed=True), curve("a", 9, [], failed=True)
    (found,) = budget_scores([*whole, broke, never], np.array([1.0, 2.0, 4.0]))
    assert found.scores[:, 3] == pytest.approx([90, 80, 52])
    assert found.scores[:, 4] == pytest.approx([102, 102, 52])
    assert found.failed[:, 3:].tolist() == [[False, True], [False, True], [True, True]]
    (other,) = budget_scores([*whole, broke, never], np.array([4.0]), failure=np.array([70.0]))
    assert other.scores[0] == pytest.approx([50, 51, 52, 70, 70])


def test_failed_trainings_do_not_count_as_seeds():
    seeds = [curve("a", index, [(1, value)], configuration="x") for index, value in enumerate([90, 100, 110])]
    failed = curve("a", 3, [], configuration="x", failed=True)
    lost = curve("a", 4, [], failed=True)
    (found,) = budget_scores([*seeds, failed, lost], np.array([1.0]))
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
def test_bands_hold_where_half_is_stopped_at_each_rung():
    rng, held, centres = np.random.default_rng(0), 0, []
    truth = np.mean([expected_best(halved(rng, 200)[1], 6) for _ in range(300)])
    for _ in range(300):
        found = budget_scores(halved(rng, 20)[0], RUNGS[-1:])
        best = pooled([best_of_k(each.scores, 6, variances=each.variances) for each in found])
        held += best.band[0][0] <= truth <= best.band[1][0]
        centres.append(best.value[0])
    assert 0.92 <= held / 300 <= 0.99
    assert np.mean(centres) == pytest.approx(truth, rel=0.03)


@pytest.mark.trains
def test_bands_hold_where_the_best_are_repeated():
    rng, held = np.random.default_rng(0), 0
    truth = float(rng.lognormal(4, 0.3, (100_000, 4)).min(1).mean())
    for _ in range(400):
        true = rng.lognormal(4, 0.3, 12)
        first = true * (1 + 0.1 * rng.standard_normal(12))
        made = [curve("a", index, [(1, value)]) for index, value in enumerate(first)]
        for index in np.argsort(first)[:3]:
            again = true[index] * (1 + 0.1 * rng.standard_normal(2))
            made += [curve("a", 100 + index, [(1, value)], configuration=f"a/{index}") for value in again]
        (found,) = budget_scores(made, np.ones(1))
        low, high = best_of_k(found.scores, 4, variances=found.variances).band
        held += low[0] <= truth <= high[0]
    assert 0.92 <= held / 400 <= 0.985
