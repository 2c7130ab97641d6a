"""Plans for made-up sweeps, and their backtests."""

from dataclasses import replace

import numpy as np
import pytest
from truths.trainings import KnownLaw, MadeUpSweep, flops_of

from gensweep.errors import GensweepError, UntrustedError
from gensweep.extras.plan import forecast
from gensweep.extras.plan.allocation import FamilyPlanner
from gensweep.extras.plan.backtest import backtest
from gensweep.extras.plan.forecast import FittedFamily
from gensweep.extras.plan.spending import MAX_REACH, plan_spending

SWEEP = MadeUpSweep()
SATURATING = KnownLaw(floor=2, size=1, images_exponent=0.7, saturates=5e12)


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch):
    monkeypatch.setattr(forecast, "REPLICATES", 40)


def drawn(sweep=SWEEP, seed=0, group="a"):
    return sweep.draw(np.random.default_rng(seed), group)[0]


@pytest.fixture(scope="module")
def plan():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast, "REPLICATES", 40)
        worse = MadeUpSweep(KnownLaw(floor=60))
        return plan_spending({"good": drawn(), "bad": drawn(worse, 1, "bad")}, 4 * SWEEP.flops)


def test_the_better_family_is_recommended_with_what_the_budget_pays_for(plan):
    assert plan.trusted
    assert plan.best.group == "good"
    assert plan.probability > 0.95
    assert plan.best.flops == pytest.approx(4 * SWEEP.flops)
    assert plan.best.flops_per_image == pytest.approx(flops_of(plan.best.width))
    assert plan.best.width in plan.best.near
    assert plan.best.forecast.low < plan.best.forecast.value < plan.best.forecast.high


def test_lawful_trainings_are_trusted_and_their_best_is_found(plan):
    assert not plan.backtest.problems
    assert plan.backtest.limit == pytest.approx(SWEEP.flops / 4, rel=0.06)
    assert all(each.spent > plan.backtest.limit for each in plan.backtest.hidden)
    assert plan.backtest.coverage >= 0.5
    assert plan.backtest.regret < 0.1


def test_the_backtest_does_not_look_at_what_it_hides():
    trainings = drawn()
    worse = [
        replace(
            each,
            curve=replace(
                each.curve,
                points=tuple(
                    replace(point, order=point.order * (1 if point.spent <= SWEEP.flops / 4 else 0.1))
                    for point in each.curve.points
                ),
            ),
        )
        for each in trainings
    ]
    found = [backtest({"a": each}) for each in (trainings, worse)]
    assert [each.forecast for each in found[0].hidden] == [each.forecast for each in found[1].hidden]
    assert found[1].problems


@pytest.mark.trains
def test_intervals_are_widened_by_the_backtest():
    law = KnownLaw(floor=2, size=1, images_exponent=0.7, saturates=1.6e13)
    trainings = drawn(MadeUpSweep(law, rungs=()), 1)
    plan, planner = plan_spending({"a": trainings}, 4 * SWEEP.flops), FamilyPlanner("a", FittedFamily.of(trainings))
    plain, factor = planner.allocate(4 * SWEEP.flops).forecast, plan.backtest.widening
    inside = [each.miss <= factor for each in plan.backtest.hidden]
    assert factor > 1
    assert np.mean(inside) >= 0.8
    assert all((each.miss <= 1) == each.inside for each in plan.backtest.hidden)
    wider = np.log(plan.best.forecast.high / plan.best.forecast.low) / np.log(plain.high / plain.low)
    assert wider == pytest.approx(factor, rel=1e-6)
    assert plan.best.forecast.value == pytest.approx(plain.value)


@pytest.mark.trains
@pytest.mark.parametrize("seed", range(3))
def test_a_family_that_saturates_suddenly_is_not_trusted(seed):
    plan = plan_spending({"a": drawn(MadeUpSweep(SATURATING, rungs=()), seed)}, 4 * SWEEP.flops)
    assert not plan.trusted
    assert plan.backtest.coverage < 0.5
    assert "do not follow the scaling law" in plan.problems[0]


SCATTER = KnownLaw(100, 0, images=0, trainings=0, noise=0.35)


@pytest.mark.parametrize("evaluations", [6, 24])
def test_scatter_without_trend_is_not_trusted(evaluations):
    made = MadeUpSweep(SCATTER, 14, evaluations=evaluations, rungs=())
    for seed in (1, 2):
        plan = plan_spending({"a": drawn(made, seed)}, 4 * made.flops)
        assert any(problem.startswith("scores of a do not fall in the last factor of 4") for problem in plan.problems)


def test_a_best_trial_that_gets_worse_is_not_trusted():
    """The narrowest networks get worse at the end while wider ones still learn."""
    made = MadeUpSweep(trainings=14, rungs=())
    narrow = made.widths[0]
    trainings = [
        replace(each, curve=replace(each.curve, points=tuple(_worse_late(each.curve.points, 0.2 * made.flops))))
        if each.width == narrow
        else each
        for each in drawn(made)
    ]
    plan = plan_spending({"a": trainings}, 4 * made.flops)
    assert plan.best.members[0].width == narrow
    assert any(f"scores of a at width {narrow}" in problem for problem in plan.problems)


def _worse_late(points, begin):
    """Scores that are half as bad, and rise after `begin` of compute."""
    return [replace(each, order=0.5 * each.order * max(1.0, each.spent / begin)) for each in points]


def test_more_compute_goes_into_wider_networks():
    law = KnownLaw(floor=1, size=20, size_exponent=1.5, trainings=0.05, speeds=0, noise=0.01)
    sweep = MadeUpSweep(law, trainings=24, widths=(8, 16, 24, 32, 48, 64), rungs=())
    planner = FamilyPlanner("a", FittedFamily.of(drawn(sweep)))
    budgets = np.geomspace(sweep.flops / 16, 8 * sweep.flops, 5)
    widths = [planner.allocate(float(each)).width for each in budgets]
    assert widths == sorted(widths)
    assert widths[-1] > widths[0]
    for budget, width in zip(budgets, widths, strict=True):
        possible = planner.widths(float(budget))
        true = {w: float(law.scores(w, np.array([budget / flops_of(w)]))[0]) for w in possible}
        assert true[width] < 1.1 * min(true.values())


def test_three_trials_are_too_few():
    with pytest.raises(UntrustedError, match=r"too few trials .*\(3 of a; each family needs 5\).*--extend"):
        plan_spending({"a": drawn(MadeUpSweep(trainings=3, rungs=()))}, 4 * SWEEP.flops)
    repeats = [replace(each, curve=replace(each.curve, configuration=str(i % 3))) for i, each in enumerate(drawn())]
    with pytest.raises(UntrustedError, match="3 of a"):
        plan_spending({"a": repeats}, 4 * SWEEP.flops)
    with pytest.raises(GensweepError, match="best --compare"):  # the budget was spent already
        plan_spending({"a": drawn()}, SWEEP.flops)


def test_a_family_of_three_trials_is_left_out_of_a_plan():
    few = drawn(MadeUpSweep(trainings=3, rungs=()), 1, "few")
    plan = plan_spending({"a": drawn(), "few": few}, 4 * SWEEP.flops)
    assert [each.group for each in plan.allocations] == ["a"]
    assert plan.remarks[0].startswith("few is left out: 3 trials")


def test_budget_far_beyond_the_data_is_not_trusted():
    worse = drawn(MadeUpSweep(KnownLaw(floor=60), flops=2 * SWEEP.flops), 1, "bad")
    plan = plan_spending({"good": drawn(), "bad": worse}, 1.5 * MAX_REACH * SWEEP.flops)
    assert plan.best.group == "good"
    assert "the budget is 24 times what any trial of good has spent" in plan.problems[-1]


@pytest.mark.trains
def test_intervals_hold_most_of_what_comes():
    """Counted finely in benchmarks/scaling_coverage.py; here only that they are no toy."""
    rng, held = np.random.default_rng(5), []
    for _ in range(8):
        trainings, effects = SWEEP.draw(rng)
        best = FamilyPlanner("a", FittedFamily.of(trainings)).allocate(4 * SWEEP.flops)
        number = [each.curve.trial for each in trainings].index(best.members[0].curve.trial)
        came = SWEEP.law.scores(best.width, np.array([best.images]), *effects[number])[0]
        held.append(best.forecast.low <= came <= best.forecast.high)
    assert np.mean(held) >= 0.5
