from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_up import IDENTITY
from recorded import judged, sweep, trial

from gensweep.config.objectives import Objective
from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.report.caveats import caveats
from gensweep.report.commands import left_out_reasons, refuse_unlike
from gensweep.report.export import (
    comparison_rows,
    front_json,
    front_table,
)
from gensweep.verdict.comparison import compare, varied_by_family
from gensweep.verdict.recommendation import recommend

OBJECTIVES = (
    Objective(metric="fd"),
    Objective(metric="sample_flops"),
    Objective(metric="precision", mode="max"),
)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(0, 500)), st.sampled_from(["finished", "pruned", "failed", "stopped"])
        ),
        max_size=12,
    )
)
def test_ranks_are_sorted_scores_without_failed_trials(results):
    trials = [trial("a", number, value, status=status) for number, (value, status) in enumerate(results)]
    expected = sorted(value for value, status in results if value is not None and status != "failed")
    assume(expected)
    comparison = compare([sweep("a", trials)])
    assert [entry.score.value for entry in comparison.entries] == expected
    assert [entry.rank for entry in comparison.entries] == list(range(1, len(expected) + 1))
    assert {item.trial for item in comparison.failed} == {item.trial for item in trials if item.status == "failed"}


@pytest.mark.parametrize("results", [[], [(None, "finished")], [(5.0, "failed"), (None, "pruned")]])
def test_without_a_score_there_is_nothing_to_compare(results):
    trials = [trial("a", number, value, status=status) for number, (value, status) in enumerate(results)]
    with pytest.raises(NothingToCompareError):
        compare([sweep("a", trials)])


def test_larger_is_better_if_the_sweep_says_so():
    trials = [trial("a", number, value, mode="max") for number, value in enumerate([1.0, 3.0, 2.0])]
    assert [entry.score.value for entry in compare([sweep("a", trials)]).entries] == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("part", list(IDENTITY.as_dict()))
def test_no_two_scores_of_different_identity_are_ranked_together(part):
    other = replace(IDENTITY, **{part: "another"})
    a, b = sweep("a", [trial("a", 0, 5.0)]), sweep("b", [trial("b", 0, 1.0, identity=other)], age=1)
    comparison = compare([a, b])
    assert [entry.trial.sweep for entry in comparison.entries] == ["a"]
    assert [(item.sweep, "another" in item.reason) for item in left_out_reasons(comparison)] == [("b", True)]
    with pytest.raises(GensweepError, match=r"b cannot be compared with a: .*gensweep train --from-run b/t0000"):
        refuse_unlike(comparison)


def test_the_largest_comparable_group_wins_over_the_newest():
    few = replace(IDENTITY, samples=500)
    sweeps = [
        sweep("new", [trial("new", 0, 1.0, identity=few)]),
        sweep("b", [trial("b", 0, 5.0)], age=2),
        sweep("c", [trial("c", 0, 4.0)], age=3),
    ]
    comparison = compare(sweeps)
    assert [item.name for item in comparison.sweeps] == ["b", "c"]
    left = left_out_reasons(comparison)[0]
    assert left.reason == "scores of another kind (generated images: 500 against 2,000)"
    assert left.command == "gensweep train --from-run new/t0000"


def test_a_single_finetuning_does_not_push_a_sweep_of_many_trials_out():
    others = replace(IDENTITY, reference="ten photos#sha256:99")
    few = replace(IDENTITY, reference="nine photos#sha256:98")
    tuned = [sweep(f"tuned{n}", [trial(f"tuned{n}", 0, 1.0, identity=others)], age=n) for n in range(2)]
    tuned.append(sweep("alone", [trial("alone", 0, 1.0, identity=few)]))
    comparison = compare([*tuned, sweep("many", [trial("many", n, 50.0 + n) for n in range(5)], age=9)])
    assert [entry.trial.sweep for entry in comparison.entries] == ["many"] * 5
    assert {item.sweep for item in left_out_reasons(comparison)} == {"tuned0", "tuned1", "alone"}


def test_what_was_only_scored_here_decides_nothing():
    few = replace(IDENTITY, samples=500)
    scored = {"identity": few, "config": {"family": {"sha256": "0"}}}
    folders = [sweep(f"f{n}", [trial(f"f{n}", 0, 1.0, **scored)]) for n in range(4)]
    comparison = compare([*folders, sweep("a", [trial("a", 0, 5.0)])])
    assert [entry.trial.name for entry in comparison.entries] == ["a/t0000"]
    assert all(item.command.endswith("--replace --like a") for item in left_out_reasons(comparison))


def test_cheaper_scores_are_left_out_with_a_command():
    cheap = replace(IDENTITY, samples=500)
    trials = [trial("a", 0, 5.0), trial("a", 1, 1.0, status="pruned", identity=cheap)]
    comparison = compare([sweep("a", trials)])
    assert [entry.trial.trial for entry in comparison.entries] == ["t0000"]
    left = left_out_reasons(comparison)[0]
    assert left.reason == "1 of 2 trials: scores of another kind (generated images: 500 against 2,000)"
    assert left.command == "gensweep train --from-run a/t0001"


def test_sweeps_without_scores_are_named_with_the_reason():
    comparison = compare([sweep("a", [trial("a", 0, 5.0)]), sweep("b", [trial("b", 0, None, status="failed")])])
    assert left_out_reasons(comparison)[0].reason == "no trial has a score (1 trial, 1 failed)"
    with pytest.raises(NothingToCompareError, match="run: gensweep trials b"):
        compare([sweep("b", [trial("b", 0, None)])])


def test_what_differs_is_what_varies_within_a_sweep():
    trials = [
        trial("a", 0, 1.0, params={"x": 1, "same": 2, "only": 3}),
        trial("a", 1, 2.0, params={"x": 2, "same": 2}),
    ]
    assert varied_by_family(trials)[trials[0].name] == ("x", "only")
    rows = comparison_rows(*judged([sweep("a", trials)]))
    assert [row["settings"] for row in rows] == ["x=1 only=3", "x=2"]


def limited(number, value, *broken, **values):
    return trial("a", number, value, broken_limits=broken, **values)


def test_a_trial_that_breaks_a_limit_is_the_best_only_where_all_do():
    broken = limited(0, 1.0, "params 9 is more than 5")
    comparison = compare([sweep("a", [broken, limited(1, 5.0)])])
    assert [entry.trial.trial for entry in comparison.entries] == ["t0001"]
    (left,) = left_out_reasons(comparison)
    assert left.reason == "1 of 2 trials break a limit (t0000: params 9 is more than 5)"
    assert not [
        each for each in caveats(comparison, recommend(comparison)) if "limit" in each or "another kind" in each
    ]
    alone = compare([sweep("a", [broken])])
    assert (alone.best_score.trial, alone.not_comparable) == (broken, ())
    assert "a/t0000 breaks a limit: params 9 is more than 5" in caveats(alone, recommend(alone))
    other = sweep("b", [trial("b", 0, 7.0)], age=1)
    with pytest.raises(GensweepError, match=r"a cannot be compared with b: all trials break a limit .*gensweep best a"):
        refuse_unlike(compare([sweep("a", [broken]), other]))


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8)


@given(points)
def test_the_front_holds_what_nothing_beats_in_all_objectives(drawn):
    """A trial is off the front exactly if one that is on it beats it; a maximised objective counts the other way."""
    trials = [
        trial("a", number, fd, objectives=OBJECTIVES, known={"sample_flops": flops, "precision": precision})
        for number, (fd, flops, precision) in enumerate(drawn)
    ]
    comparison = compare([sweep("a", [*trials, trial("a", 90, 0.0)])])
    on = {row["trial"]: tuple(row["objectives"].values()) for row in front_json(comparison)["objective_front"]}
    for number, (fd, flops, precision) in enumerate(drawn):
        mine = (fd, flops, precision)
        beaten = any(a <= fd and b <= flops and c >= precision and (a, b, c) != mine for a, b, c in on.values())
        assert beaten != (f"t{number:04d}" in on)
    assert len(front_table(comparison)) == len(on)
