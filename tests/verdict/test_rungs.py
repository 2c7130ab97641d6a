"""How well early scores ranked the final ones."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import ranked, trial

from gensweep.report.verdict import format_rung
from gensweep.results import Evaluation
from gensweep.sweep.events import Evaluated
from gensweep.verdict.rungs import rank_correlation, rungs, rungs_of

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


def trained(number, points, **values):
    """A trial with (images, score) points."""
    mode = values.pop("mode", "min")
    made = trial("s", number, points[-1][1], mode=mode, **values)
    score = made.score
    events = [Evaluated(made.trial, Evaluation(at, {"fd": replace(score, value=value)}), None) for at, value in points]
    made.evaluations = {each.evaluation.images: each for each in events}
    return made


def test_each_rung_is_held_against_the_final_scores():
    found = rungs_of("s", curves((9, 8, 1), (8, 7, 2), (7, 3, 3), (6, 4, 4)))
    assert [(rung.images, rung.share, rung.trials) for rung in found] == [(10, 0.25, 4), (20, 0.5, 4)]
    assert found[0].correlation == pytest.approx(-1.0)
    assert found[1].correlation == pytest.approx(-0.8)
    assert [rung.winner for rung in found] == [4, 4]


def test_trainings_of_unlike_lengths_are_compared_by_share():
    """As those of a budget in FLOPs, which pays for more images of the narrower network."""
    trials = [
        trained(number, [(round(end / 4) + number, 9.0 - number), (end, 1.0 * number)], length=end)
        for number, end in enumerate((4000, 4000, 1000, 1000, 2000))
    ]
    entries = ranked(trials)
    (rung,) = rungs("s", entries["s"])
    assert (rung.images, rung.share, rung.trials, rung.winner) == (None, 0.25, 5, 5)
    assert rung.correlation == pytest.approx(-1.0)
    assert format_rung(rung) == "25 % of the training"


@pytest.mark.parametrize(("mode", "winner"), [("min", 1), ("max", 2)])
def test_the_winner_is_the_one_with_the_better_score(mode, winner):
    rows = [(1, 1), (2, 2), (3, 4), (4, 3)]
    trials = [trained(n, list(zip((10, 20), row, strict=True)), mode=mode) for n, row in enumerate(rows)]
    entries = ranked(trials)["s"]
    found = rungs("s", entries)
    assert [(rung.images, rung.winner) for rung in found] == [(10, winner)]
    assert found[0].correlation == pytest.approx(0.8)


@pytest.mark.parametrize("rows", [[], [(1, 2, 3)] * 3, [(0, 0, 3)] * 5])
def test_too_few_trials_and_scores_that_are_all_equal_tell_nothing(rows):
    assert rungs_of("s", curves(*rows)) == []
