"""How well early scores ranked the final ones."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import ranked, trial

from gensweep.report.rungs import Rung, rank_correlation, rung_words, rungs, rungs_of

VALUES = st.lists(st.integers(0, 9).map(float), min_size=3, max_size=12)


@given(VALUES, st.randoms())
def test_the_correlation_is_scipys(first, rng):
    from scipy.stats import spearmanr

    second = [value + rng.choice([0.0, 3.0, 7.0]) for value in first]
    ours = rank_correlation(first, second)
    if len(set(first)) < 2 or len(set(second)) < 2:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(float(spearmanr(first, second).statistic), abs=1e-12)


def curves(*rows):
    return [list(zip((10, 20, 40), row, strict=True)) for row in rows]


def stored(monkeypatch, trials):
    """Let the store have the histories of trials, which are by trial."""
    monkeypatch.setattr("gensweep.report.rungs.metric_history", lambda trial, metric: trials[trial.trial])


def test_each_rung_is_held_against_the_final_scores():
    found = rungs_of("s", curves((9, 8, 1), (8, 7, 2), (7, 3, 3), (6, 4, 4)))
    assert [(rung.images, rung.share, rung.trials) for rung in found] == [(10, 0.25, 4), (20, 0.5, 4)]
    assert found[0].correlation == pytest.approx(-1.0)
    assert found[1].correlation == pytest.approx(-0.8)
    assert [rung.winner for rung in found] == [4, 4]


def test_trainings_of_unlike_lengths_are_compared_after_equal_shares_up_to_whole_batches(monkeypatch):
    """As those of a budget in FLOPs, which pays for more images of the narrower network."""
    trials = {
        f"t{number:04d}": [(round(end / 4) + number, 9.0 - number), (end, 1.0 * number)]
        for number, end in enumerate((4000, 4000, 1000, 1000, 2000))
    }
    stored(monkeypatch, trials)
    ends = [points[-1][0] for points in trials.values()]
    entries = ranked([trial("s", number, float(number), length=end) for number, end in enumerate(ends)])
    (rung,) = rungs("s", entries["s"])
    assert (rung.images, rung.share, rung.trials, rung.winner) == (None, 0.25, 5, 5)
    assert rung.correlation == pytest.approx(-1.0)
    assert "a correlation of -1.00 at 25 % of the training; the winner was number 5 of 5" in rung_words([rung])[0]


@pytest.mark.parametrize(("share", "words"), [(0.0625, "6.25 %"), (1 / 3, "33.3 %"), (0.997, "99.7 %")])
def test_a_rung_near_the_end_is_named_in_plain_numbers(share, words):
    assert Rung("s", share, None, 4, 1.0, 1).place == f"{words} of the training"


def test_trainings_that_ended_before_their_length_have_no_final_score(monkeypatch):
    trials = {f"t{number:04d}": [(10, 5.0 - number), (20, 1.0 + number)] for number in range(5)}
    trials["t0004"] = [(10, 0.5)]
    stored(monkeypatch, trials)
    entries = ranked([trial("s", number, 1.0 + number, length=20) for number in range(5)])
    assert [rung.trials for rung in rungs("s", entries["s"])] == [4]


@pytest.mark.parametrize(("mode", "winner"), [("min", 1), ("max", 2)])
def test_the_winner_is_the_one_with_the_better_score(monkeypatch, mode, winner):
    rows = [(1, 1), (2, 2), (3, 4), (4, 3)]
    histories = {f"t{number:04d}": list(zip((10, 20), row, strict=True)) for number, row in enumerate(rows)}
    stored(monkeypatch, histories)
    entries = ranked([trial("s", number, row[-1], mode=mode) for number, row in enumerate(rows)])["s"]
    found = rungs("s", entries)
    assert [(rung.images, rung.winner) for rung in found] == [(10, winner)]
    assert found[0].correlation == pytest.approx(0.8)


@pytest.mark.parametrize("rows", [[], [(1, 2, 3)] * 3, [(0, 0, 3)] * 5])
def test_too_few_trials_and_scores_that_are_all_equal_tell_nothing(rows):
    assert rungs_of("s", curves(*rows)) == []


def test_the_words_name_rungs_and_the_winners_place():
    found = rungs_of("s", curves((9, 1, 1), (8, 2, 2), (7, 3, 3), (6, 4, 4)))
    assert rung_words(found) == [
        "s: early scores ranked the final ones with a correlation of -1.00 at 10 images, 1.00 at 20 images; "
        "the winner was number 4 of 4 at the first rung"
    ]
