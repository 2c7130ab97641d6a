"""Which figures a report has, and what they show."""

from itertools import accumulate

import pytest
from recorded import sweep, trial

from gensweep.report.charts import draw_charts
from gensweep.report.comparison import compare
from gensweep.results import Cost


@pytest.fixture
def plans(monkeypatch):
    """What is drawn, by the name of the chart; nothing is asked of a store."""

    def planned(trials, histories=None):
        found = {}
        histories = histories or {}
        monkeypatch.setattr("gensweep.report.charts._drawn", lambda plan, name: found.setdefault(plan.name, plan))
        monkeypatch.setattr("gensweep.report.charts.parameter_importance", lambda sweep: {"a.b": 0.75, "c": 0.25})
        monkeypatch.setattr(
            "gensweep.report.charts.metric_history", lambda trial, metric: histories.get((trial.trial, metric), [])
        )
        names = dict.fromkeys(each.sweep for each in trials)
        sweeps = [sweep(name, [each for each in trials if each.sweep == name]) for name in names]
        draw_charts(compare(sweeps), lambda run_id: f"page of {run_id}")
        return found

    return planned


@pytest.mark.parametrize(("mode", "best"), [("min", min), ("max", max)])
def test_the_line_of_a_history_is_the_best_so_far(mode, best, plans):
    values = [50.0, 40.0, 45.0, 30.0, 90.0]
    [panel] = plans([trial("a", n, value, mode=mode) for n, value in enumerate(values)])["Optimisation history"].panels
    assert [y for _, y in panel.lines[0].points] == list(accumulate(values, best))
    assert [(dot.x, dot.y) for dot in panel.dots] == list(enumerate(values, 1))


def test_costs_mark_the_winner_and_hollow_marks_were_stopped_early(plans):
    trials = [trial("a", 0, 50.0, status="pruned"), trial("a", 1, 40.0), trial("a", 2, 60.0, cost=Cost(images=9))]
    images, seconds = next(plan for name, plan in plans(trials).items() if "against cost" in name).panels
    assert [(dot.y, dot.hollow, dot.ringed) for dot in images.dots] == [
        (40.0, False, True),
        (50.0, True, False),
        (60.0, False, False),
    ]
    assert [dot.y for dot in seconds.dots] == [40.0, 50.0]  # the seconds of the third are not known
    assert list(seconds.alike) == [40.0, 50.0, 60.0]


def test_the_best_curve_of_each_panel_is_drawn_strongly(plans):
    trials = [trial("a", n, value) for n, value in enumerate([5.0, 4.0])] + [trial("b", 2, 3.0)]
    histories = {(f"t{n:04d}", "fd"): [(1, 9.0), (2, value)] for n, value in enumerate([5.0, 4.0, 3.0])}
    panels = plans(trials, histories)["Every trial"].panels
    assert [[(line.points[-1][1], line.faint) for line in panel.lines] for panel in panels] == [
        [(3.0, False)],
        [(4.0, False), (5.0, True)],
    ]


def test_marks_say_what_the_trial_is_and_lead_to_its_run(plans):
    one = trial("a", 1, 40.0, params={"x.width": 64}, status="pruned")
    [panel] = plans([one, trial("a", 2, 50.0, params={"x.width": 32})])["Optimisation history"].panels
    note = panel.dots[0].note
    assert note.lines == (
        "a/t0001 (gan, pruned)",
        "FD-EffNetLite0 40",
        "1k images, 10 s of training",
        "width=64",
    )
    assert note.link == "page of a-t0001"


def test_signals_have_a_panel_each_and_those_of_generated_images_are_dashed(plans):
    signals = {("t0000", "signal/accuracy_real"): [(1, 0.5)], ("t0000", "signal/accuracy_fake"): [(1, 0.4)]}
    [panel] = plans([trial("a", 0, 5.0)], signals)["How the games went"].panels
    assert [line.dashed for line in panel.lines] == [False, True]


def test_a_chart_without_anything_to_show_is_left_out(plans):
    assert set(plans([trial("a", 0, 5.0, cost=Cost())])) == {"Optimisation history", "What mattered"}
