"""Verdicts on sweeps whose evaluations are made by hand."""

import re
from dataclasses import replace

import pytest
from histories import BUDGETS, diffusion_law, evaluated, gan_law
from made_up import IDENTITY
from recorded import changed, sweep, trial

from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.report.caveats import caveats
from gensweep.report.export import comparison_json
from gensweep.report.verdict import format_verdict
from gensweep.verdict.amounts import Amount, parse_amount
from gensweep.verdict.comparison import compare
from gensweep.verdict.pareto import pareto_rows
from gensweep.verdict.recommendation import recommend


@pytest.fixture
def families(history):
    """Two families of which one is better below 4e12 flops, and the other above."""
    gan = history.family("g", "gan", 16, gan_law, sample_flops=1e6)
    return compare([gan, history.family("d", "diffusion", 16, diffusion_law, seed=1, sample_flops=1e9)])


def test_by_default_the_budget_is_the_largest_that_all_reached(families, history):
    verdict = recommend(families)
    assert verdict.budget == Amount("flops", pytest.approx(16e12))
    assert (verdict.group, verdict.recommended.trial.family) == ("d", "diffusion")
    assert verdict.probability > 0.95
    assert not verdict.too_close
    assert verdict.tries == 5


def test_whole_batches_that_end_a_little_beyond_the_budget_count(history):
    first = [history.trial("a", n, "gan", [(1e12, 90.0), (2.001e12, 20.0 + n)]) for n in range(2)]
    second = [history.trial("b", n, "diffusion", [(1e12, 80.0), (1.999e12, 50.0 + n)]) for n in range(2)]
    comparison = compare([sweep("a", first), sweep("b", second)])
    for verdict in (recommend(comparison), recommend(comparison, parse_amount("2e12flops"))):
        assert (verdict.recommended.trial.name, verdict.score) == ("a/t0000", 20.0)


def test_below_the_end_nothing_is_said_of_what_came_later(history):
    """The winner's best checkpoint, its score on fresh seeds, and the best score of another trial."""
    budgets = (1e12, 8e12)
    gans = [history.trial("g", n, "gan", [(at, 100.0 + n - at / 1e12) for at in budgets]) for n in range(6)]
    gans = [changed(each, rescored=replace(each.score, value=95.0)) for each in gans]
    lucky = history.trial("d", 9, "diffusion", [(1e12, 50.0), (8e12, 6.0)])
    others = [history.trial("d", n, "diffusion", [(1e12, 160.0 + n), (8e12, 40.0 + n)]) for n in range(8)]
    comparison = compare([sweep("g", gans), sweep("d", [lucky, *others])])
    early, late = recommend(comparison, parse_amount("1e12flops")), recommend(comparison)
    assert (early.group, late.group) == ("g", "d")
    words = format_verdict(comparison, early)
    assert "Best score: d/t0009 (FD-EffNetLite0 6); recommended: g/t0000, as the best score needed more" in words
    assert "Its best checkpoint" not in words
    assert "fresh seeds" not in words
    alone = compare([sweep("g", gans)])
    assert "fresh seeds: 95, 3 worse" in format_verdict(alone, recommend(alone))


@pytest.mark.parametrize("status", ["running", "paused", "waiting", "stopped", "pruned"])
def test_what_would_have_gone_on_is_no_whole_training(history, status):
    whole = history.family("s", "gan", 6, gan_law)
    short = history.trial("s", 9, "gan", [(BUDGETS[0], 30.0)], status=status)
    comparison = compare([sweep(whole.name, [*whole.trials, short])])
    assert [curve.stopped for curve in recommend(comparison).curves] == [1]


def test_another_budget_has_another_winner(families):
    verdict = recommend(families, parse_amount("1.2e12flops"))
    assert (verdict.group, verdict.recommended.trial.sweep) == ("g", "g")
    assert verdict.score > verdict.recommended.score.value  # it had not yet the score of its best checkpoint


def test_the_flip_lies_where_the_laws_cross(families):
    (flip,) = recommend(families).flips
    assert (flip.below, flip.above) == ("g", "d")
    assert flip.low < BUDGETS[5]  # the first scores at which diffusion is better
    assert flip.high > 4e12


def test_alike_families_are_too_close_to_call(history):
    gan = history.family("g", "gan", 9, gan_law)
    comparison = compare([gan, history.family("d", "diffusion", 9, gan_law, seed=1)])
    verdict = recommend(comparison)
    assert verdict.too_close
    assert not verdict.flips
    assert format_verdict(comparison, verdict).startswith("Too close to call with 16 TFLOPs of training: ")


def expected_of(verdict, group):
    """What a group reaches at the budget."""
    return next(each.points[-1].best for each in verdict.curves if each.group == group)


@pytest.mark.parametrize(
    ("outside", "said"), [(False, "2 of 12 trainings of g failed and count as no score"), (True, None)]
)
def test_failed_trainings_count_unless_infrastructure_failed(history, outside, said):
    gan, other = history.family("g", "gan", 10, gan_law), history.family("d", "diffusion", 10, gan_law, seed=1)
    broken = [trial("g", 10 + n, None, family="gan", status="failed", infrastructure_error=outside) for n in range(2)]
    before = expected_of(recommend(compare([gan, other])), "g")
    comparison = compare([sweep(gan.name, [*gan.trials, *broken]), other])
    verdict = recommend(comparison)
    assert [each for each in caveats(comparison, verdict) if "failed" in each] == ([] if said is None else [said])
    after = expected_of(verdict, "g")
    assert after == pytest.approx(before) if said is None else after > 1.01 * before


def test_a_family_of_failures_alone_is_told_and_not_compared(history):
    gan, other = history.family("g", "gan", 9, gan_law), history.family("d", "diffusion", 9, gan_law, seed=1)
    broken = [trial("g", 10 + n, None, family="vdm", status="failed", error="ValueError: no") for n in range(2)]
    comparison = compare([sweep(gan.name, [*gan.trials, *broken]), other])
    verdict = recommend(comparison)
    assert "all 2 trainings of g VDM failed, so it has no result" in caveats(comparison, verdict)
    assert [each.group for each in verdict.curves] == ["d", "g"]


def test_images_to_be_drawn_move_the_flip(families):
    plain = recommend(families)
    verdict = recommend(families, parse_amount("16e12flops"), draw=4000)
    assert verdict.overheads == {"g": 4e9, "d": 4e12}
    assert verdict.flips[0].value > plain.flips[0].value + 2e12
    assert recommend(families, draw=4000).budget == Amount("flops", pytest.approx(20e12))
    with pytest.raises(ConfigError, match=r"--draw: sampling costs no training images"):
        recommend(families, parse_amount("5images"), draw=10)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("1e15flops", r"more than all groups reached \(.*\); give at most 1.6e13flops, or train longer"),
        ("1flops", r"less than the first scores needed \(.*\); give at least 1e12flops"),
    ],
)
def test_budgets_of_which_nothing_is_known_are_refused_in_one_line(families, budget, words):
    with pytest.raises(ConfigError, match=words) as error:
        recommend(families, parse_amount(budget))
    assert "\n" not in str(error.value)


def test_sweeps_without_a_common_budget_use_another_unit(history):
    gan = history.family("g", "gan", 8, gan_law, budgets=BUDGETS / 100)
    comparison = compare([gan, history.family("d", "diffusion", 8, diffusion_law)])
    verdict = recommend(comparison)
    assert verdict.budget == Amount("images", 9)
    assert any(
        "all of d have a score from 1e12flops on, but g ended at 1.6e11flops" in each
        for each in caveats(comparison, verdict)
    )
    with pytest.raises(NothingToCompareError, match="train g longer, or compare in another unit") as error:
        recommend(comparison, parse_amount("1e12flops"))
    assert "\n" not in str(error.value)


def test_one_training_of_each_is_judged_by_the_errors_of_the_scores(history):
    one = sweep("g", [history.trial("g", 0, "gan", [(1e12, 40)])])
    two = sweep("d", [history.trial("d", 0, "diffusion", [(1e12, 41)])])
    comparison = compare([one, two])
    verdict = recommend(comparison)
    assert verdict.group is None
    assert 0.9 < verdict.probability < 0.97  # 1 against 0.01 sqrt(40^2 + 41^2)
    words = format_verdict(comparison, verdict)
    assert re.search(r"g/t0000( leads)? \(probability 9\d %\)(:| with) FD-EffNetLite0 40, on one seed\.", words)
    assert not verdict.curves
    assert "left out of the curves, with one configuration where two are needed: d, g" in caveats(comparison, verdict)


def test_a_sweep_alone_has_a_curve_and_no_flip(history):
    comparison = compare([history.family("g", "gan", 9, gan_law)])
    verdict = recommend(comparison)
    assert verdict.group is None
    assert [curve.group for curve in verdict.curves] == ["g"]
    assert verdict.recommended is comparison.best_score


def test_small_groups_have_no_band_and_say_so(history):
    gan = history.family("g", "gan", 3, gan_law)
    comparison = compare([gan, history.family("d", "diffusion", 3, diffusion_law)])
    verdict = recommend(comparison)
    assert all(point.low is None for curve in verdict.curves for point in curve.points)
    assert "no confidence band: fewer than 8 configurations per group (d 3, g 3)" in caveats(comparison, verdict)


def of_families(history, budgets, **trainings):
    """A sweep of families with these (last score, number of evaluations) of each training."""
    numbers, made = iter(range(100)), []
    for family, scores in trainings.items():
        for last, evaluations in scores:
            points = [(at, last * (budgets[-1] / at) ** 0.3) for at in budgets[:evaluations]]
            status = "finished" if evaluations == len(budgets) else "pruned"
            made.append(history.trial("s", next(numbers), family, points, status=status))
    return compare([sweep("s", made)])


def test_no_sentence_passes_over_a_better_trial_of_a_lone_family(history):
    """A family with one configuration is not compared, but scored best."""
    gans, flows = [(27.0 + n / 10, 3) for n in range(5)], [(60.0 + n, 3) for n in range(5)]
    comparison = of_families(history, (1e12, 3e12, 9e12), vae=[(20.0, 3)], gan=gans, diffusion=flows)
    verdict = recommend(comparison)
    assert (verdict.recommended.trial.family, verdict.best_score.trial.family) == ("gan", "vae")
    found = comparison_json(comparison, verdict)["verdict"]
    names = found["best_score"]["trial"], found["best_score"]["value"], found["recommended"]["trial"]
    assert names == ("t0000", 20, "t0001")
    assert found["reason"].endswith("as VAE has no other configuration to compare")
    assert found["reason"] in format_verdict(comparison, verdict)


@pytest.mark.parametrize(("whole", "sure"), [(4, False), (5, True)])
def test_nothing_is_sure_with_few_trainings_known_at_the_budget(history, whole, sure):
    def trainings(score):
        return [(score * (1 + n / 100), 3) for n in range(whole)] + [(2 * score + n, 1) for n in range(4)]

    comparison = of_families(history, (1e12, 3e12, 9e12), gan=trainings(10.0), diffusion=trainings(90.0))
    verdict = recommend(comparison)
    words, found = format_verdict(comparison, verdict), comparison_json(comparison, verdict)["verdict"]
    assert (verdict.too_close, found["too_close"], verdict.probability < 0.95) == (not sure, not sure, not sure)
    assert ("choose GAN" in words, "oo close to call" in words) == (sure, not sure)
    reason = "nothing is certain with fewer than 5 trainings per group that reached the budget (GAN 4, diffusion 4)"
    assert any(each.startswith(reason) for each in caveats(comparison, verdict)) == (not sure)
    assert not verdict.flips


def test_the_verdict_says_on_how_many_seeds_it_stands(history):
    made = [history.trial("g", 0, "gan", [(1e12, 50)]), history.trial("g", 1, "gan", [(1e12, 90)])]
    made += [history.trial("g", 10 + n, "gan", [(1e12, v)], repeat_of="t0000") for n, v in enumerate([52, 54])]
    comparison = compare([sweep("g", made)])
    verdict = recommend(comparison)
    assert (verdict.seeds, verdict.score) == (3, 52)
    low, high = verdict.interval
    assert high - low == pytest.approx(2 * 4.303 * 2 / 3**0.5, rel=0.01)
    assert ", mean of 3 seeds (95 %: 47.3 to 57.2)" in format_verdict(comparison, verdict)
    assert not any("one seed" in each for each in caveats(comparison, verdict))


def test_only_evaluations_of_the_same_identity_count(history):
    cheap = replace(IDENTITY, samples=50)
    made = [history.trial("g", n, "gan", [(1e12, 10), (2e12, 40 + n)]) for n in range(2)]
    for number, each in enumerate(made):
        first, last = (event.evaluation for event in each.evaluations.values())
        early = replace(first, scores={"fd": replace(first.scores["fd"], identity=cheap)})
        made[number] = evaluated(each, [early, last])
        made[number].best = made[number].evaluations[last.images]
    verdict = recommend(compare([sweep("g", made)]))
    assert verdict.score == 40
    assert [len(curve.points) for curve in verdict.trained.curves] == [1, 1]


def test_the_front_holds_the_best_score_and_the_cheapest_to_draw_from(families):
    rows = pareto_rows(families, recommend(families))
    assert rows[0].entry is families.best_score
    assert {row.entry.trial.family for row in rows} == {"gan", "diffusion"}
    assert rows[0].sampling == 1e9
