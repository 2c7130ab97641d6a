"""How well early scores ranked the final ones."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import ranked, trial

from gensweep.report.rungs import rank_correlation, rung_words, rungs, rungs_of

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
    return {f"t{number}": list(zip((10, 20, 40), row, strict=False)) for number, row in enumerate(rows)}


def test_each_rung_is_held_against_the_final_scores_of_trials_that_reached_them():
    found = rungs_of("s", curves((9, 8, 1), (8, 7, 2), (7, 3, 3), (6, 4, 4), (1,)))
    assert [(rung.images, rung.trials) for rung in found] == [(10, 4), (20, 4)]
    assert found[0].correlation == pytest.approx(-1.0)
    assert found[1].correlation == pytest.approx(-0.8)
    assert [rung.winner for rung in found] == [4, 4]


@pytest.mark.parametrize(("mode", "winner"), [("min", 1), ("max", 2)])
def test_the_winner_is_the_one_with_the_better_score(monkeypatch, mode, winner):
    rows = [(1, 1), (2, 2), (3, 4), (4, 3)]
    histories = {f"t{number:04d}": list(zip((10, 20), row, strict=True)) for number, row in enumerate(rows)}
    monkeypatch.setattr("gensweep.report.rungs.metric_history", lambda trial, metric: histories[trial.trial])
    entries = ranked([trial("s", number, row[-1], mode=mode) for number, row in enumerate(rows)])["s"]
    found = rungs("s", entries)
    assert [(rung.images, rung.winner) for rung in found] == [(10, winner)]
    assert found[0].correlation == pytest.approx(0.8)


@pytest.mark.parametrize("rows", [[], [(1, 2, 3)] * 3, [(1,)] * 5])
def test_too_few_trials_or_rungs_tell_nothing(rows):
    assert rungs_of("s", curves(*rows)) == []


def test_the_words_name_rungs_and_the_winners_place():
    found = rungs_of("s", curves((9, 1, 1), (8, 2, 2), (7, 3, 3), (6, 4, 4)))
    assert rung_words(found) == [
        "s: early scores ranked the final ones with a correlation of -1.00 at 10 images, 1.00 at 20 images; "
        "the winner was number 4 of 4 at the first rung"
    ]
