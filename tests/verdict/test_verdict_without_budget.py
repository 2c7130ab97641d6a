"""The verdict on trainings that have no budget in common: by the means over seeds, with all costs."""

import re

import pytest
from recorded import sweep

from gensweep.report.caveats import caveats
from gensweep.report.charts import budget_figure
from gensweep.report.export import comparison_json, comparison_rows
from gensweep.report.verdict import format_verdict
from gensweep.verdict.comparison import compare
from gensweep.verdict.pareto import pareto_rows
from gensweep.verdict.recommendation import recommend


@pytest.fixture
def apart(history):
    """A model of three seeds, and one that was trained for a tenth as much in every unit."""
    long = [history.trial("d", n, "diffusion", [(1e13, 30.0 + 2 * n)] * 10) for n in range(2)]
    long += [
        history.trial("d", 10 + n, "diffusion", [(1e13, v)] * 10, repeat_of="t0000") for n, v in enumerate((32, 34))
    ]
    for each in long:  # of which only the last is of the kind that counts
        each.evaluations = dict(list(each.evaluations.items())[-1:])
    return compare([sweep("d", long), sweep("g", [history.trial("g", 0, "gan", [(1e12, 50.0)])])])


def test_without_any_common_budget_the_best_counts_with_the_mean_of_its_seeds(apart):
    verdict = recommend(apart)
    assert verdict.budget is None
    assert (verdict.recommended.trial.name, verdict.score, verdict.seeds) == ("d/t0000", 32.0, 3)
    assert verdict.interval[0] < 32 < verdict.interval[1]
    words = format_verdict(apart, verdict)
    assert re.match(r"(Take d/t0000, the best|Too close to call: d/t0000 leads) with a probability of ", words)
    assert "FD-EffNetLite0 32 on average of 3 seeds (95 %: " in words
    assert [each for each in caveats(apart, verdict) if "seed" in each] == []
    assert "in flops they have no budget in common" in next(caveats(apart, verdict))


def test_without_any_common_budget_costs_are_known_all_the_same(apart):
    verdict = recommend(apart)
    rows = comparison_rows(apart, verdict)
    assert [row["whole"] for row in rows] == ["10 TFLOPs", "10 TFLOPs", "1 TFLOPs"]
    assert [row.entry.trial.name for row in pareto_rows(apart, verdict)] == ["d/t0000", "g/t0000"]
    assert comparison_json(apart, verdict)["pareto"][1]["training"] == 1e12
    (panel,) = budget_figure(apart, verdict).panels
    assert len(panel.dots) == 5


def test_without_any_common_budget_what_was_only_scored_here_may_be_the_best(apart, history):
    folder = history.trial("f", 0, "folder", [(1.0, 20.0)], config={"family": {"sha256": "0"}})
    comparison = compare([*apart.sweeps, sweep("f", [folder])])
    verdict = recommend(comparison)
    assert (verdict.budget, verdict.recommended.trial.name, verdict.score) == (None, "f/t0000", 20.0)
