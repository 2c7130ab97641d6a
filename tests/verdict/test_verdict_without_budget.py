"""The verdict on trainings that have no budget in common: by the means over seeds, with all costs."""

import re

import pytest
from recorded import sweep

from gensweep.report.caveats import caveats
from gensweep.report.verdict import format_verdict
from gensweep.verdict.comparison import compare
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


def test_without_a_common_budget_the_mean_of_seeds_counts(apart):
    verdict = recommend(apart)
    assert verdict.budget is None
    assert (verdict.recommended.trial.name, verdict.score, verdict.seeds) == ("d/t0000", 32.0, 3)
    assert verdict.interval[0] < 32 < verdict.interval[1]
    words = format_verdict(apart, verdict)
    assert re.match(r"(Choose d/t0000|Too close to call: d/t0000 leads) \(probability ", words)
    assert "FD-EffNetLite0 32, mean of 3 seeds (95 %: " in words
    assert [each for each in caveats(apart, verdict) if "seed" in each] == []
    assert "in flops they have no budget in common" in next(caveats(apart, verdict))
