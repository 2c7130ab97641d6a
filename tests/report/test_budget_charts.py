"""What the figures of scores against compute show."""

from dataclasses import replace

import pytest
from recorded import sweep, trial

from gensweep.compute.amounts import Amount
from gensweep.compute.curves import CurvePoint, FrontierPoint, TrainingCurve
from gensweep.compute.flips import Flip
from gensweep.compute.frontier import GroupCurve
from gensweep.report.budget_charts import budget_plan, cost_plan, trainings_plan
from gensweep.report.budget_verdict import BudgetVerdict
from gensweep.report.comparison import compare
from gensweep.report.training_curves import TrainedCurves
from gensweep.results import Anchor, Cost

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
        scores = [replace(each.objective, floor=anchors[0], ceiling=anchors[1]) for each in found]
        trials[name] = [replace(each, objective=score) for each, score in zip(found, scores, strict=True)]
    comparison = compare([sweep(name, found) for name, found in trials.items()])
    entries = {entry.trial.run_id: entry for entry in comparison.entries}
    sign = 1 if mode == "min" else -1
    curves = tuple(
        TrainingCurve(
            entry.trial.sweep,
            run_id,
            run_id,
            (CurvePoint(100.0, sign * 90.0), CurvePoint(400.0, entry.score.order)),
            entry.trial.status == "pruned",
        )
        for run_id, entry in entries.items()
    )
    groups = tuple(
        GroupCurve(name, (FrontierPoint(100.0, 90.0), FrontierPoint(400.0, end, end - 3, end + 3)), 2, 2, 0)
        for name, end in ((SLOW, 20.0), (FAST, 40.0))
    )
    trained = TrainedCurves(unit, curves, entries, ())
    winner = next(entry for entry in comparison.entries if entry.trial.name == f"{SLOW}/t0000")
    given = {"group": SLOW, "trained": trained, "curves": groups} | values
    return comparison, BudgetVerdict(Amount(unit, 400.0), winner, 20.0, **given)


def lead(**values):
    comparison, verdict = made(**values)
    [panel] = budget_plan(comparison, verdict, lambda run_id: f"page of {run_id}").panels
    return panel


def test_trainings_are_faint_behind_the_curves_of_their_groups():
    panel = lead()
    assert [line.faint for line in panel.lines] == [True, True, True, True, False, False]
    strong = [line for line in panel.lines if not line.faint]
    assert [line.points[-1] for line in strong] == [(400.0, 20.0), (400.0, 40.0)]
    assert {line.colour for line in strong} == {0, 1}
    assert {dot.note.link for dot in panel.dots} == {f"page of {name}-t000{n}" for name in (SLOW, FAST) for n in (0, 1)}


def test_only_trainings_that_were_stopped_early_end_hollow_and_the_winner_has_the_ring():
    dots = lead().dots
    assert [dot.y for dot in dots if dot.hollow] == [25.0]
    assert [dot.y for dot in dots if dot.ringed] == [20.0]


def test_bands_are_drawn_where_there_are_any():
    assert [list(band.points) for band in lead().bands] == [[(400.0, 17.0, 23.0)], [(400.0, 37.0, 43.0)]]


def test_a_flip_is_marked_with_what_is_best_on_each_side_and_its_interval():
    crossing, budget = lead(flips=(Flip(200.0, 150.0, 300.0, FAST, SLOW),)).crossings
    assert (budget.x, budget.faint, crossing.faint) == (400.0, True, False)
    assert crossing.x == 200.0
    assert crossing.interval == (150.0, 300.0)
    assert "GAN" in crossing.below
    assert "diffusion" in crossing.above
    assert crossing.note.lines == ("below 200 FLOPs GAN, above diffusion", "95 %: 150 to 300 FLOPs")


def test_floor_and_ceiling_are_levels_of_every_figure_of_scores():
    floor = Anchor(12.0, "digits/test", 300, error=0.5)
    comparison, verdict = made(anchors=(floor, Anchor(150.0, "noise", 300)))
    for plan in (budget_plan, trainings_plan, cost_plan):
        for panel in plan(comparison, verdict, lambda run_id: None).panels:
            level = panel.levels[0]
            assert (level.y, level.interval) == (12.0, floor.interval)
            assert level.note.lines == ("300 held-out real images", "12 (11 to 13)")
    assert [(level.name, level.y) for level in lead(anchors=(floor, Anchor(150.0, "noise", 300))).levels[1:]] == [
        ("noise", 150.0)
    ]


def test_a_ceiling_far_beyond_the_scores_is_left_out_so_that_they_can_be_told_apart():
    assert lead(anchors=(None, Anchor(5000.0, "noise", 300))).levels == []
    assert lead().levels == []


def test_at_each_budget_all_groups_are_read_together():
    readings = {reading.x: reading.note.lines for reading in lead().readings}
    assert readings == {
        100.0: ("for 100 FLOPs", "ddpm 90", "dcgan 90"),
        400.0: ("for 400 FLOPs", "ddpm 20 (17 to 23)", "dcgan 40 (37 to 43)"),
    }


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
    assert panel.x.title == title
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
    assert not budget_plan(comparison, verdict, lambda run_id: None).panels
    assert not trainings_plan(comparison, verdict, lambda run_id: None).panels


def test_each_group_has_a_panel_of_trainings_on_the_same_scale():
    comparison, verdict = made()
    panels = trainings_plan(comparison, verdict, lambda run_id: None).panels
    assert [panel.title for panel in panels] == [SLOW, FAST]
    assert [[line.faint for line in panel.lines] for panel in panels] == [[False, True]] * 2
    assert panels[0].alike == panels[1].alike


def test_models_on_the_front_are_strong_in_both_costs():
    comparison, verdict = made()
    training, sampling = cost_plan(comparison, verdict, lambda run_id: None).panels
    for panel in (training, sampling):
        assert [dot.y for dot in panel.dots if not dot.faint] == [20.0]
    assert (training.x.title, sampling.x.title) == ("training FLOPs", "sampling FLOPs an image")
    assert sampling.dots[0].note.lines[-1] == "3 FLOPs an image"
