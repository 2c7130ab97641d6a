import random

import pytest
import recorded

from gensweep.report.charts import format_importance
from gensweep.verdict.comparison import compare
from gensweep.verdict.importance import MIN_FINISHED, importance


def sweep(count, score, *, name="s", statuses=("finished",), seed=0, **values):
    """A sweep of two families in turn; a trial's score follows from its family and settings."""
    rng, trials = random.Random(seed), []
    for number in range(count):
        family = ("diffusion", "gan")[number % 2]
        params = {"rate": rng.uniform(0, 1), "same": 3, "kind": rng.choice("ab")}
        if params["kind"] == "b":
            params["only_b"] = rng.uniform(0, 1)
        value, status = score(rng, family, params), statuses[number % len(statuses)]
        trials.append(recorded.trial(name, number, value, params=params, family=family, status=status, **values))
    return recorded.sweep(name, trials)


def noise(rng, family, params):
    return rng.lognormvariate(3, 0.5)


def families_differ(rng, family, params):
    """By a factor of 9 between families; by a third or so within them, hardly by the learning rate."""
    return (90 if family == "gan" else 10) * (1 + 0.1 * params["rate"]) * rng.lognormvariate(0, 0.5)


def test_a_family_that_decides_comes_first():
    found = importance(compare([sweep(60, families_differ)]))
    # The logarithms: 1.0986^2 between families, 0.5^2 within.
    assert found.log
    family, settings, rest = found.shares.between, found.shares.within.values(), found.shares.rest
    assert family.share == pytest.approx(0.83, abs=0.06)
    assert family.low < 0.83 < family.high
    assert all(each.share < 0.05 and each.low == 0 for each in settings)
    total = family.share + sum(each.share for each in settings) + rest.share
    assert total == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_settings_that_do_nothing_have_intervals_that_reach_0(seed):
    shares = importance(compare([sweep(24, noise, seed=seed)])).shares
    assert shares.between.low == 0
    assert [each for each in shares.within.values() if each.low > 0.02] == []
    assert shares.rest.high > 0.9


def test_what_mattered_in_a_branch_only_is_a_part_of_that_branch():
    """In kind b a setting decides that kind a does not have."""

    def score(rng, family, params):
        return 10 ** (1 + params.get("only_b", 0.5)) * rng.lognormvariate(0, 0.05)

    within = importance(compare([sweep(80, score)])).shares.within
    assert {*list(within)[:2]} == {("diffusion", "only_b"), ("gan", "only_b")}
    assert sum(each.share for each in list(within.values())[:2]) > 0.8


def test_finished_and_stopped_trials_count():
    statuses = ("finished", "pruned", "failed", "running", "finished", "finished")
    found = importance(compare([sweep(36, families_differ, statuses=statuses)]))
    assert (found.finished, found.stopped) == (18, 6)
    words = format_importance(found, "FD")
    assert "24 trials (6 of them stopped early" in words
    assert "logarithm of FD" in words


@pytest.mark.parametrize("count", [1, MIN_FINISHED - 1])
def test_few_finished_trials_have_no_importance(count):
    assert importance(compare([sweep(count, families_differ, seed=1)])) is None


def test_sweeps_of_one_family_are_a_setting_of_it():
    def score(factor):
        return lambda rng, *_: factor * rng.lognormvariate(0, 0.1)

    made = [sweep(20, score(factor), name=name) for name, factor in (("a", 1.0), ("b", 9.0))]
    shares = importance(compare([recorded.sweep(each.name, each.trials[::2]) for each in made])).shares
    assert shares.between is None
    [((_, setting), share), *_] = shares.within.items()
    assert (setting, share.share > 0.9) == ("sweep", True)
