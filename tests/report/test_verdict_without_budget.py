"""The verdict on trainings that have no budget in common: by the means over seeds, with all costs."""

import re

import pytest
from recorded import sweep

from gensweep.report.budget_charts import budget_plan, trainings_plan
from gensweep.report.budget_verdict import judge
from gensweep.report.comparison import compare
from gensweep.report.export import comparison_json, comparison_rows
from gensweep.report.pareto_table import pareto_rows
from gensweep.report.verdict import verdict_words


@pytest.fixture
def apart(history):
    """A model of three seeds, and one that was trained for a tenth as much in every unit."""
    long = [history.trial("d", n, "diffusion", [(1e13, 30.0 + 2 * n)] * 10) for n in range(2)]
    long += [
        history.trial("d", 10 + n, "diffusion", [(1e13, v)] * 10, repeat_of="t0000") for n, v in enumerate((32, 34))
    ]
    for each in long:  # of which only the last is of the kind that counts
        history.evaluations[each.run_id] = history.evaluations[each.run_id][-1:]
    return compare([sweep("d", long), sweep("g", [history.trial("g", 0, "gan", [(1e12, 50.0)])])])


def test_without_any_common_budget_the_best_counts_with_the_mean_of_its_seeds(apart):
    verdict = judge(apart)
    assert verdict.budget is None
    assert (verdict.winner.trial.name, verdict.score, verdict.seeds) == ("d/t0000", 32.0, 3)
    assert verdict.interval[0] < 32 < verdict.interval[1]
    words = verdict_words(apart, verdict)
    assert re.match(r"(Take d/t0000, the best|Too close to call: d/t0000 leads) with a probability of ", words)
    assert "FD-EffNetLite0 32 on average of 3 seeds (95 %: " in words
    assert [each for each in verdict.warnings if "seed" in each] == []
    assert "in flops they have no budget in common" in verdict.warnings[0]


def test_without_any_common_budget_costs_are_known_all_the_same(apart):
    verdict = judge(apart)
    rows = comparison_rows(apart, verdict)
    assert [row["whole"] for row in rows] == ["10 TFLOPs", "10 TFLOPs", "1 TFLOPs"]
    assert [row.entry.trial.name for row in pareto_rows(apart, verdict)] == ["d/t0000", "g/t0000"]
    assert comparison_json(apart, verdict)["pareto"][1]["training"] == 1e12
    assert trainings_plan(apart, verdict, lambda run_id: None).panels == []
    (panel,) = budget_plan(apart, verdict, lambda run_id: None).panels
    assert len(panel.dots) == 5


def test_without_any_common_budget_what_was_only_scored_here_may_be_the_best(apart, history):
    folder = history.trial("f", 0, "folder", [(1.0, 20.0)])
    comparison = compare([*apart.sweeps, sweep("f", [folder])])
    verdict = judge(comparison)
    assert (verdict.budget, verdict.winner.trial.name, verdict.score) == (None, "f/t0000", 20.0)
