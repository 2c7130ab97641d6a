"""The compute of a training includes that of the weights that it started from."""

import pytest
from histories import History
from recorded import changed, sweep

from gensweep.report.caveats import caveats
from gensweep.report.export import trial_facts
from gensweep.verdict.comparison import compare
from gensweep.verdict.recommendation import recommend
from gensweep.verdict.training_curves import trained_curves


def judged(**base):
    """A trial from scratch and one from weights."""
    scratch, started = (History().trial("s", number, "flow", [(1e12, 60), (2e12, 50 - number)]) for number in (0, 1))
    start = {"kind": "weights", "base": "runs/base", **base}
    comparison = compare([sweep("s", [scratch, changed(started, config={**started.config, "start": start})])])
    return comparison, recommend(comparison)


def test_the_cost_of_own_weights_is_added_to_each_score():
    comparison, verdict = judged(base_flops=7e12, base_images=500)
    costs = {curves.unit: curves.costs for curves in trained_curves(comparison)}
    assert costs["flops"] == {"s/t0000": (2e12, 2e12), "s/t0001": (9e12, 9e12)}
    assert costs["images"]["s/t0001"] == (502, 502)
    words = "the weights of runs/base, whose own cost of 7 TFLOPs is counted in its compute"
    assert f"s/t0001 started from {words}" in list(caveats(comparison, verdict))
    assert trial_facts(comparison.best_score, "FD")["start"] == words


def test_an_unknown_cost_is_said_and_not_counted():
    comparison, verdict = judged()
    assert trained_curves(comparison)[0].costs["s/t0001"] == pytest.approx((2e12, 2e12))
    words = "s/t0001 started from the weights of runs/base, whose own cost is not known"
    assert words in list(caveats(comparison, verdict))
