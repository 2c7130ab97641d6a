"""Verdicts on sweeps whose evaluations are made by hand."""

import json
import re
from dataclasses import replace

import pytest
from histories import BUDGETS
from made_up import IDENTITY
from recorded import sweep, trial

from gensweep.compute.amounts import Amount, parse_amount
from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.report.budget_charts import budget_plan
from gensweep.report.budget_verdict import judge
from gensweep.report.comparison import compare
from gensweep.report.export import comparison_json, comparison_rows
from gensweep.report.pareto_table import pareto_rows, pareto_table
from gensweep.report.training_curves import sampling_cost
from gensweep.report.verdict import verdict_words
from gensweep.results import Cost, Identity


def gan_law(budget):
    """Soon good, and then hardly better; 40 at 4e12."""
    return 40 * (budget / 4e12) ** -0.05


def diffusion_law(budget):
    """Bad at first; 40 at 4e12."""
    return 40 * (budget / 4e12) ** -0.7


@pytest.fixture
def families(history):
    """Two families of which one is better below 4e12 flops, and the other above."""
    gan = history.family("g", "gan", 16, gan_law, sample_flops=1e6)
    return compare([gan, history.family("d", "diffusion", 16, diffusion_law, seed=1, sample_flops=1e9)])


def test_by_default_the_budget_is_the_largest_that_all_reached(families, history):
    verdict = judge(families)
    assert verdict.budget == Amount("flops", pytest.approx(16e12))
    assert (verdict.group, verdict.winner.trial.family) == ("d", "diffusion")
    assert verdict.probability > 0.95
    assert not verdict.too_close
    assert verdict.tries == 5


def test_whole_batches_that_end_a_little_beyond_the_budget_count(history):
    first = [history.trial("a", n, "gan", [(1e12, 90.0), (2.001e12, 20.0 + n)]) for n in range(2)]
    second = [history.trial("b", n, "diffusion", [(1e12, 80.0), (1.999e12, 50.0 + n)]) for n in range(2)]
    comparison = compare([sweep("a", first), sweep("b", second)])
    for verdict in (judge(comparison), judge(comparison, parse_amount("2e12flops"))):
        assert (verdict.winner.trial.name, verdict.score) == ("a/t0000", 20.0)


def test_groups_that_end_a_batch_apart_with_one_score_each_are_compared(history):
    """As where all scores before the end are of another kind."""
    first = [history.trial("a", n, "gan", [(2.001e12, 20.0 + n)]) for n in range(4)]
    second = [history.trial("b", n, "diffusion", [(1.999e12, 50.0 + n)]) for n in range(4)]
    comparison = compare([sweep("a", first), sweep("b", second)])
    for verdict in (judge(comparison), judge(comparison, parse_amount("2e12flops"))):
        assert (verdict.group, verdict.no_budget) == ("a", None)
        assert verdict.probability > 0.95


def test_below_the_end_nothing_is_said_of_what_came_later(history):
    """The winner's best checkpoint, its score on fresh seeds, and the best score of another trial."""
    budgets = (1e12, 8e12)
    gans = [history.trial("g", n, "gan", [(at, 100.0 + n - at / 1e12) for at in budgets]) for n in range(6)]
    gans = [replace(each, rescored=replace(each.objective, value=95.0)) for each in gans]
    lucky = history.trial("d", 9, "diffusion", [(1e12, 50.0), (8e12, 6.0)])
    others = [history.trial("d", n, "diffusion", [(1e12, 160.0 + n), (8e12, 40.0 + n)]) for n in range(8)]
    comparison = compare([sweep("g", gans), sweep("d", [lucky, *others])])
    early, late = judge(comparison, parse_amount("1e12flops")), judge(comparison)
    assert (early.group, late.group) == ("g", "d")
    assert "the best single configuration is d/t0009 (FD-EffNetLite0 50)" in early.warnings
    words = verdict_words(comparison, early)
    assert "Its best checkpoint" not in words
    assert "fresh seeds" not in words
    alone = compare([sweep("g", gans)])
    assert "fresh seeds: 95, 3 worse" in verdict_words(alone, judge(alone))


def test_two_sweeps_of_one_name_are_two_groups(history):
    old = history.family("s", "gan", 8, gan_law)
    new = history.family("s", "gan", 8, lambda budget: 2 * gan_law(budget), seed=1)
    renamed = [replace(each, run_id=f"new-{each.trial}", sweep_id="2") for each in new.trials]
    history.evaluations |= {f"new-{each.trial}": history.evaluations[each.run_id] for each in new.trials}
    history.evaluations |= {each.run_id: history.evaluations[each.run_id] for each in old.trials}
    first = replace(old, run_id="a" * 32, sweep_id="1", trials=tuple(replace(e, sweep_id="1") for e in old.trials))
    second = replace(new, run_id="b" * 32, sweep_id="2", trials=tuple(renamed))
    comparison = compare([first, second], asked=True)
    assert {group: len(members) for group, members in comparison.groups.items()} == {"s aaaaaaaa": 8, "s bbbbbbbb": 8}
    assert [comparison.group_name(group) for group in comparison.groups] == list(comparison.groups)
    verdict = judge(comparison)
    name = comparison.name_of(verdict.winner.trial)
    assert name == f"{verdict.group}/{verdict.winner.trial.trial}"
    assert f": {name}, FD-EffNetLite0 " in verdict_words(comparison, verdict)
    assert any(each.startswith(f"{name} was trained with one seed") for each in verdict.warnings)
    assert comparison_json(comparison, verdict)["verdict"]["winner"]["run_id"] == verdict.winner.trial.run_id
    assert {row["sweep"] for row in comparison_rows(comparison, verdict)} == {"s aaaaaaaa", "s bbbbbbbb"}
    assert {row["on the Pareto front"] for row in pareto_table(comparison, verdict)} <= set(
        map(comparison.name_of, (entry.trial for entry in comparison.entries))
    )
    (panel,) = budget_plan(comparison, verdict, lambda run_id: None).panels
    assert any(dot.note.lines[0].startswith(f"{name} (GAN") for dot in panel.dots)


@pytest.mark.parametrize("status", ["running", "paused", "waiting", "stopped", "pruned"])
def test_what_would_have_gone_on_is_no_whole_training(history, status):
    whole = history.family("s", "gan", 6, gan_law)
    short = history.trial("s", 9, "gan", [(BUDGETS[0], 30.0)], status=status)
    comparison = compare([replace(whole, trials=(*whole.trials, short))])
    assert [curve.stopped for curve in judge(comparison).curves] == [1]


def test_another_budget_has_another_winner(families):
    verdict = judge(families, parse_amount("1.2e12flops"))
    assert (verdict.group, verdict.winner.trial.sweep) == ("g", "g")
    assert verdict.score > verdict.winner.score.value  # it had not yet the score of its best checkpoint


def test_the_first_sentences_say_who_when_how_sure_on_how_many_seeds_and_where_it_flips(families):
    first, second = re.split(r"\. (?=[A-Z])", verdict_words(families, judge(families)))[:2]
    who = r"At 16 TFLOPs of training take diffusion, the best with a probability of (over )?\d+ %: d/t00\d\d, "
    assert re.match(who, first)
    assert first.endswith(", on one seed")
    assert re.fullmatch(
        r"Below [3-6]\.\d* TFLOPs of training take GAN, above it diffusion \(95 %: [\d.]+ to [\d.]+ TFLOPs\)", second
    )


def test_the_flip_lies_where_the_laws_cross(families):
    (flip,) = judge(families).flips
    assert (flip.below, flip.above) == ("g", "d")
    assert flip.low < BUDGETS[5]  # the first scores at which diffusion is better
    assert flip.high > 4e12


def test_alike_families_are_too_close_to_call(history):
    gan = history.family("g", "gan", 9, gan_law)
    comparison = compare([gan, history.family("d", "diffusion", 9, gan_law, seed=1)])
    verdict = judge(comparison)
    assert verdict.too_close
    assert not verdict.flips
    assert verdict_words(comparison, verdict).startswith("Too close to call at 16 TFLOPs of training: ")


def expected_of(verdict, group):
    """What a group reaches at the budget."""
    return next(each.points[-1].best for each in verdict.curves if each.group == group)


@pytest.mark.parametrize(
    ("outside", "said"), [(False, "2 of 12 trainings of g failed and count as no score"), (True, None)]
)
def test_failed_trainings_count_in_the_verdict_unless_the_cause_lies_outside(history, outside, said):
    gan, other = history.family("g", "gan", 10, gan_law), history.family("d", "diffusion", 10, gan_law, seed=1)
    broken = [trial("g", 10 + n, None, family="gan", status="failed", outside=outside) for n in range(2)]
    before = expected_of(judge(compare([gan, other])), "g")
    comparison = compare([replace(gan, trials=(*gan.trials, *broken)), other])
    verdict = judge(comparison)
    assert [each for each in verdict.warnings if "failed" in each] == ([] if said is None else [said])
    after = expected_of(verdict, "g")
    assert after == pytest.approx(before) if said is None else after > 1.01 * before


def test_a_family_of_failures_alone_is_told_and_not_compared(history):
    gan, other = history.family("g", "gan", 9, gan_law), history.family("d", "diffusion", 9, gan_law, seed=1)
    broken = [trial("g", 10 + n, None, family="vdm", status="failed", error="ValueError: no") for n in range(2)]
    verdict = judge(compare([replace(gan, trials=(*gan.trials, *broken)), other]))
    assert "all 2 trainings of g VDM failed, so nothing is known of it" in verdict.warnings
    assert [each.group for each in verdict.curves] == ["d", "g"]


def test_images_to_be_drawn_move_the_flip(families):
    plain = judge(families)
    verdict = judge(families, parse_amount("16e12flops"), draw=4000)
    assert verdict.overheads == {"g": 4e9, "d": 4e12}
    assert verdict.flips[0].value > plain.flips[0].value + 2e12
    assert judge(families, draw=4000).budget == Amount("flops", pytest.approx(20e12))
    with pytest.raises(ConfigError, match=r"--draw: drawing costs no training images"):
        judge(families, parse_amount("5images"), draw=10)


def test_a_budget_that_does_not_pay_for_the_images_of_a_group_says_so(families):
    verdict = judge(families, parse_amount("16e12flops"), draw=20000)
    assert verdict.group == "g"
    assert "the budget does not pay for a training and 20,000 images of d" in verdict.warnings
    assert not any("a band takes" in each for each in verdict.warnings)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("1e15flops", r"beyond what all were trained for \(.*\); give at most 1.6e13flops, or train longer"),
        ("1flops", r"less than the first scores of all took \(.*\); give at least 1e12flops"),
    ],
)
def test_budgets_of_which_nothing_is_known_are_refused_in_one_line(families, budget, words):
    with pytest.raises(ConfigError, match=words) as error:
        judge(families, parse_amount(budget))
    assert "\n" not in str(error.value)


def test_a_budget_that_misses_the_last_score_by_a_little_is_taken_for_it(families):
    assert judge(families, parse_amount("1.61e13flops")).budget.value == pytest.approx(16e12)


def test_sweeps_without_a_common_budget_are_compared_in_another_unit_and_the_reason_is_told(history):
    gan = history.family("g", "gan", 8, gan_law, budgets=BUDGETS / 100)
    comparison = compare([gan, history.family("d", "diffusion", 8, diffusion_law)])
    verdict = judge(comparison)
    assert verdict.budget == Amount("images", 9)
    assert any(
        "all of d have a score from 1e12flops on, but g ended at 1.6e11flops" in each for each in verdict.warnings
    )
    with pytest.raises(NothingToCompareError, match="train g longer, or compare in another unit") as error:
        judge(comparison, parse_amount("1e12flops"))
    assert "\n" not in str(error.value)


def test_a_short_sweep_that_keeps_the_budget_small_is_named(history):
    gan = history.family("g", "gan", 8, gan_law, budgets=BUDGETS / 4)
    verdict = judge(compare([gan, history.family("d", "diffusion", 8, diffusion_law)]))
    words = "g ended at 4 TFLOPs, so nothing larger is compared, though d was trained for 16 TFLOPs"
    assert words in verdict.warnings


def test_one_training_of_each_is_judged_by_the_errors_of_the_scores(history):
    one = sweep("g", [history.trial("g", 0, "gan", [(1e12, 40)])])
    two = sweep("d", [history.trial("d", 0, "diffusion", [(1e12, 41)])])
    comparison = compare([one, two])
    verdict = judge(comparison)
    assert verdict.group is None
    assert 0.9 < verdict.probability < 0.97  # 1 against 0.01 sqrt(40^2 + 41^2)
    words = verdict_words(comparison, verdict)
    assert re.search(r"g/t0000(, the best| leads) with a probability of 9\d %: FD-EffNetLite0 40, on one seed\.", words)
    assert not verdict.curves
    assert "one configuration says nothing of others, so there is no curve of d, g" in verdict.warnings


def test_a_sweep_alone_has_a_curve_and_no_flip(history):
    comparison = compare([history.family("g", "gan", 9, gan_law)])
    verdict = judge(comparison)
    assert verdict.group is None
    assert [curve.group for curve in verdict.curves] == ["g"]
    assert verdict.winner is comparison.winner


def test_small_groups_have_no_band_and_say_so(history):
    gan = history.family("g", "gan", 3, gan_law)
    verdict = judge(compare([gan, history.family("d", "diffusion", 3, diffusion_law)]))
    assert all(point.low is None for curve in verdict.curves for point in curve.points)
    assert "a band takes 8 configurations, but there are fewer (d 3, g 3)" in verdict.warnings


def test_trainings_that_were_stopped_are_continued_and_counted(history):
    whole = [history.trial("g", n, "gan", [(1e12, 50 + n), (2e12, 40 + n)]) for n in range(5)]
    stopped = [history.trial("g", n, "gan", [(1e12, 90)], status="pruned") for n in range(5, 9)]
    verdict = judge(compare([sweep("g", [*whole, *stopped])]))
    assert verdict.curves[0].stopped == 4
    assert any(each.endswith("are taken to go on as the others did: 4 of 9 of g") for each in verdict.warnings)


def test_warnings_and_sentences_spell_families_as_people_do(history):
    made = [
        history.trial("g", n, family, [(1e12, 50 + n), (2e12, 40 + n)])
        for n, family in enumerate(["gan", "diffusion"] * 3)
    ]
    made += [history.trial("g", 10 + n, "gan", [(1e12, 90)], status="pruned") for n in range(2)]
    lost = [trial("g", 200, None, family="vae", status="failed", error="ValueError: no")]
    comparison = compare([sweep("g", [*made, *lost])])
    verdict = judge(comparison)
    assert "a band takes 8 configurations, but there are fewer (GAN 5, diffusion 3)" in verdict.warnings
    assert any(each.endswith("2 of 5 of GAN") for each in verdict.warnings)
    assert "the only training of VAE failed, so nothing is known of it" in verdict.warnings
    assert not re.search(r"\b(gan|vae)\b", " ".join((verdict_words(comparison, verdict), *verdict.warnings)))


def test_repeats_with_other_seeds_join_their_configuration(history):
    made = [history.trial("g", n, "gan", [(1e12, 50 + n)]) for n in range(4)]
    values = {"repeat_of": "t0000", "status": "finished"}
    made += [history.trial("g", 10 + n, "gan", [(1e12, value)], **values) for n, value in enumerate([54, 58])]
    comparison = compare([sweep("g", made)])
    verdict = judge(comparison)
    assert (verdict.winner.trial.trial, verdict.seeds, verdict.score) == ("t0001", 1, 51)
    assert verdict.interval[0] < 51 < verdict.interval[1]  # of other seeds, as those of t0000 tell
    assert verdict.curves[0].configurations == 4


def test_the_verdict_says_on_how_many_seeds_it_stands(history):
    made = [history.trial("g", 0, "gan", [(1e12, 50)]), history.trial("g", 1, "gan", [(1e12, 90)])]
    made += [history.trial("g", 10 + n, "gan", [(1e12, v)], repeat_of="t0000") for n, v in enumerate([52, 54])]
    comparison = compare([sweep("g", made)])
    verdict = judge(comparison)
    assert (verdict.seeds, verdict.score) == (3, 52)
    low, high = verdict.interval
    assert high - low == pytest.approx(2 * 4.303 * 2 / 3**0.5, rel=0.01)
    assert " on average of 3 seeds (95 %: 47.3 to 57.2)" in verdict_words(comparison, verdict)
    assert not any("one seed" in each for each in verdict.warnings)


def test_only_evaluations_of_the_same_identity_count(history):
    cheap = replace(IDENTITY, samples=50)
    made = [history.trial("g", n, "gan", [(1e12, 10), (2e12, 40 + n)]) for n in range(2)]
    for run_id, (first, last) in history.evaluations.items():
        early = replace(first, scores={"fd": replace(first.scores["fd"], identity=cheap)})
        history.evaluations[run_id] = (early, last)
    made = [replace(each, objective=history.evaluations[each.run_id][-1].scores["fd"]) for each in made]
    verdict = judge(compare([sweep("g", made)]))
    assert verdict.score == 40
    assert [len(curve.points) for curve in verdict.trained.curves] == [1, 1]


def test_json_has_the_documented_keys(families):
    found = json.loads(json.dumps(comparison_json(families, judge(families))))
    verdict = found["verdict"]
    assert verdict["budget"] == {"unit": "flops", "value": pytest.approx(16e12)}
    assert {"family", "sweep", "trial", "run_id"} <= set(verdict["winner"])
    assert {"probability", "too_close", "seeds", "floor", "warnings", "text"} <= set(verdict)
    assert set(verdict["flips"][0]) == {"unit", "value", "low", "high", "below", "above"}
    assert [curve["group"] for curve in found["curves"]] == ["d", "g"]
    assert set(found["curves"][0]["points"][0]) == {"budget", "best", "low", "high"}
    assert [curve["unit"] for curve in found["search_curves"]] == ["flops", "flops"]


def test_the_front_holds_the_best_score_and_the_cheapest_to_draw_from(families):
    rows = pareto_rows(families, judge(families))
    assert rows[0].entry is families.winner
    assert {row.entry.trial.family for row in rows} == {"gan", "diffusion"}
    assert rows[0].sampling == 1e9


def test_larger_scores_win_where_larger_is_better(history):
    comparison = compare([history.family("g", "gan", 9, gan_law)])
    best = max(entry.score.value for entry in comparison.entries)
    flipped = {
        run_id: tuple(replace(e, scores={"fd": replace(e.scores["fd"], mode="max")}) for e in found)
        for run_id, found in history.evaluations.items()
    }
    history.evaluations.update(flipped)
    trials = [
        replace(t, objective=max((e.scores["fd"] for e in flipped[t.run_id]), key=lambda score: score.value))
        for t in comparison.sweeps[0].trials
    ]
    verdict = judge(compare([sweep("g", trials)]))
    assert verdict.score > best
    last = verdict.curves[0].points[-1]
    assert 0 < last.low < last.best < last.high


@pytest.mark.parametrize(("metrics", "drawn"), [(["bpd"], 64), (["bpd", "fd"], 5000)])
def test_beside_a_likelihood_an_image_costs_its_share_of_what_was_drawn_and_not_of_the_real_ones(metrics, drawn):
    likelihood = Identity("bpd", None, 500, "digits#ab", "256 levels a value", timesteps=100)
    config = {"evaluation.samples": "5000", "evaluation.metrics": json.dumps(metrics)}
    found = trial("a", 0, 3.0, identity=likelihood, family="vdm", config=config, cost=Cost(sample_seconds=6.4))
    assert sampling_cost(found, "device_seconds") == pytest.approx(6.4 / drawn)
