"""The contents of the report's figures."""

from dataclasses import replace

import pytest
from recorded import changed, sweep, trial

from gensweep.report.charts import budget_figure, draw_charts
from gensweep.results import Anchor, Cost
from gensweep.verdict.amounts import Amount
from gensweep.verdict.comparison import compare
from gensweep.verdict.frontier import Flip, GroupCurve
from gensweep.verdict.recommendation import Recommendation
from gensweep.verdict.training_curves import CurvePoint, FrontierPoint, TrainedCurves, TrainingCurve

SLOW, FAST = "ddpm", "dcgan"


def made(unit="flops", mode="min", anchors=(None, None), **values):
    """Two trials of each of two sweeps; one of ddpm was stopped early."""
    cost = Cost(flops=8.0, train_seconds=8.0, sample_flops=3.0, params=5)
    trials = {
        name: [
            trial(name, 0, end, mode=mode, family=family, cost=cost),
            trial(
                name, 1, end + 5, mode=mode, family=family, cost=cost, status="pruned" if name == SLOW else "finished"
            ),
        ]
        for name, family, end in ((SLOW, "diffusion", 20.0), (FAST, "gan", 40.0))
    }
    for name, found in trials.items():
        scores = [replace(each.score, floor=anchors[0], ceiling=anchors[1]) for each in found]
        trials[name] = [changed(each, objective=score) for each, score in zip(found, scores, strict=True)]
    comparison = compare([sweep(name, found) for name, found in trials.items()])
    entries = {entry.trial.name: entry for entry in comparison.entries}
    sign = 1 if mode == "min" else -1
    curves = tuple(
        TrainingCurve(
            entry.trial.sweep,
            name,
            name,
            (CurvePoint(100.0, sign * 90.0), CurvePoint(400.0, entry.score.order)),
            entry.trial.status == "pruned",
        )
        for name, entry in entries.items()
    )
    groups = tuple(
        GroupCurve(name, (FrontierPoint(100.0, 90.0), FrontierPoint(400.0, end, end - 3, end + 3)), 2, 2, 0)
        for name, end in ((SLOW, 20.0), (FAST, 40.0))
    )
    trained = TrainedCurves(unit, curves, entries, ())
    winner = next(entry for entry in comparison.entries if entry.trial.name == f"{SLOW}/t0000")
    given = {"group": SLOW, "trained": trained, "curves": groups} | values
    return comparison, Recommendation(comparison.best_score, winner, 20.0, budget=Amount(unit, 400.0), **given)


def lead(**values):
    comparison, verdict = made(**values)
    [panel] = budget_figure(comparison, verdict).panels
    return panel


def test_trainings_are_faint_behind_the_curves_of_their_groups():
    panel = lead()
    assert [line.faint for line in panel.lines] == [True, True, True, True, False, False]
    strong = [line for line in panel.lines if not line.faint]
    assert [line.points[-1] for line in strong] == [(400.0, 20.0), (400.0, 40.0)]
    assert {line.colour for line in strong} == {0, 1}


def test_only_trainings_that_were_stopped_early_end_hollow_and_the_winner_has_the_ring():
    dots = lead().dots
    assert [dot.y for dot in dots if dot.hollow] == [25.0]
    assert [dot.y for dot in dots if dot.ringed] == [20.0]


def test_bands_are_drawn_where_there_are_any():
    assert [line.band for line in lead().lines if line.band] == [[(400.0, 17.0, 23.0)], [(400.0, 37.0, 43.0)]]


def test_a_flip_is_marked_with_what_is_best_on_each_side_and_its_interval():
    crossing, budget = lead(flips=(Flip(200.0, 150.0, 300.0, FAST, SLOW),)).crossings
    assert (budget.x, budget.faint, crossing.faint) == (400.0, True, False)
    assert crossing.x == 200.0
    assert crossing.interval == (150.0, 300.0)
    assert "GAN" in crossing.below
    assert "diffusion" in crossing.above
    assert crossing.note == ("below 200 FLOPs GAN, above diffusion", "95 %: 150 FLOPs to 300 FLOPs")


def test_the_score_of_real_images_is_a_level_of_every_figure_of_scores():
    comparison, verdict = made(anchors=(Anchor(12.0, "digits/test", 300, error=0.5), Anchor(150.0, "noise", 300)))
    for figure in (budget_figure(comparison, verdict), *draw_charts(comparison, verdict)):
        for panel in figure.panels:
            [level] = panel.levels
            assert (level.y, level.note) == (12.0, ("300 held-out real images", "12 (11 to 13)"))
    assert lead().levels == []


@pytest.mark.parametrize(
    ("unit", "title", "last"),
    [
        ("flops", "training FLOPs", 400.0),
        ("images", "training images", 400.0),
        ("device_seconds", "training minutes", 400 / 60),
    ],
)
def test_the_axis_is_in_the_unit_of_the_budget(unit, title, last):
    panel = lead(unit=unit)
    assert panel.x == title
    assert max(panel.widths()) == pytest.approx(last)


def test_what_drawing_costs_moves_trainings_of_that_group_only():
    panel = lead(draw=10, overheads={SLOW: 1000.0})
    ends = {dot.y: dot.x for dot in panel.dots}
    assert ends == {20.0: 1400.0, 25.0: 1400.0, 40.0: 400.0, 45.0: 400.0}


def test_scores_that_should_be_large_are_drawn_as_they_are():
    assert sorted(dot.y for dot in lead(mode="max").dots) == [20.0, 25.0, 40.0, 45.0]


def test_without_curves_of_groups_the_best_training_of_each_is_strong():
    lines = lead(curves=()).lines
    assert sorted(line.points[-1][1] for line in lines if not line.faint) == [20.0, 40.0]


def test_without_a_training_on_record_there_is_no_curve():
    comparison, verdict = made(trained=None, curves=())
    assert budget_figure(comparison, verdict) is None


def test_models_on_the_front_are_strong_in_both_costs():
    comparison, verdict = made()
    [costs] = draw_charts(comparison, verdict)
    training, sampling = costs.panels
    for panel in (training, sampling):
        assert [dot.y for dot in panel.dots if not dot.faint] == [20.0]
    assert (training.x, sampling.x) == ("training FLOPs", "sampling FLOPs an image")
    assert sampling.dots[0].note[-1] == "3 FLOPs an image"


def test_what_mattered_are_the_families_and_the_settings_of_each():
    found = [
        trial("a", n, (10.0 if n % 2 else 90.0) * (1 + n % 3), family=("gan", "vdm")[n % 2], params={"gan.loss": n % 3})
        for n in range(24)
    ]
    comparison = compare([sweep("a", found)])
    figures = draw_charts(comparison, Recommendation(comparison.best_score, comparison.best_score, 1.0))
    [figure] = [each for each in figures if each.name == "What mattered"]
    names = {name for name, _ in figure.bars}
    assert names == {"family", "VDM: loss", "GAN: loss", "interactions and noise"}
    assert figure.bars[0][0] == "family"
    assert sum(shown.share for _, shown in figure.bars) == pytest.approx(1)
