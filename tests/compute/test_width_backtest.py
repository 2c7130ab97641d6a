"""Is a law of narrower networks right about the widest one?"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from truths.trainings import KnownLaw, MadeUpSweep

from gensweep.compute import forecast
from gensweep.compute.spending import plan_spending
from gensweep.compute.width_backtest import width_backtest

LAWFUL = MadeUpSweep(KnownLaw(trainings=0.05, noise=0.01), trainings=16, evaluations=8, rungs=())


@dataclass(frozen=True)
class TooWide(KnownLaw):
    """Networks of width 48 do not learn."""

    def scores(self, width, images, effect=0.0, speed=0.0):
        return super().scores(width, images, effect, speed) * (2.5 if width >= 48 else 1.0)


def drawn(sweep):
    return sweep.draw(np.random.default_rng(0))[0]


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch):
    monkeypatch.setattr(forecast, "REPLICATES", 40)


def test_the_largest_width_is_predicted_from_the_others():
    trainings = drawn(LAWFUL)
    found = width_backtest("a", trainings)
    assert found.width == 48
    assert {each.trial for each in found.hidden} == {each.curve.trial for each in trainings if each.width == 48}
    assert found.trusted
    assert found.ratio == pytest.approx(1, abs=0.15)


def test_scores_are_compared_where_all_hidden_trainings_were_scored():
    trainings = drawn(LAWFUL)
    first = next(each for each in trainings if each.width == 48)
    shorter = replace(first, curve=replace(first.curve, points=first.curve.points[:2], stopped_early=True))
    found = width_backtest("a", [shorter if each is first else each for each in trainings])
    assert {each.spent for each in found.hidden} == {first.curve.points[1].spent}


def test_hidden_trainings_without_a_score_in_common_are_left_out():
    """As where seconds are measured, and one was stopped at its first rung before others had come to theirs."""
    trainings = drawn(LAWFUL)
    wide = [each for each in trainings if each.width == 48]
    first = wide[0].curve.points[0]
    short = replace(wide[0], curve=replace(wide[0].curve, points=(replace(first, spent=0.9 * first.spent),)))
    others = [each for each in trainings if each is not wide[0]]
    assert width_backtest("a", [short, *others]) is None
    early = [
        replace(each, curve=replace(each.curve, points=(short.curve.points[0], *each.curve.points[1:])))
        for each in wide[1:]
    ]
    narrower = [each for each in trainings if each.width < 48]
    assert len(width_backtest("a", [*narrower, short, *early, wide[0]]).hidden) == len(wide)


def test_with_two_widths_or_few_trainings_there_is_nothing_to_say():
    assert width_backtest("a", drawn(replace(LAWFUL, widths=(16, 48)))) is None
    assert width_backtest("a", drawn(replace(LAWFUL, trainings=5))) is None


@pytest.mark.trains
def test_where_the_largest_width_was_worse_than_expected_no_larger_one_is_proposed():
    sweep = replace(LAWFUL, law=TooWide(trainings=0.05, noise=0.01))
    plan = plan_spending({"a": drawn(sweep)}, 4 * sweep.flops)
    assert not plan.widths["a"].trusted
    assert plan.widths["a"].ratio < 0.6
    assert plan.best.width <= 48
    assert any("no width beyond 48 is proposed" in each for each in plan.remarks)
    assert plan_spending({"a": drawn(LAWFUL)}, 4 * LAWFUL.flops).planners["a"].widens
