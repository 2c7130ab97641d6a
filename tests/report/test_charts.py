"""Which figures a report has, and what they show."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import accumulate

import pytest
from recorded import sweep, trial

from gensweep.report.budget_verdict import BudgetVerdict
from gensweep.report.charts import draw_charts
from gensweep.report.comparison import compare
from gensweep.report.figure_files import figure_files
from gensweep.results import Cost


@pytest.fixture
def plans(monkeypatch):
    """What is drawn, by the name of the chart; nothing is asked of a store."""

    def planned(trials, signals=None, **verdict):
        found = {}
        monkeypatch.setattr("gensweep.report.charts._drawn", lambda plan, name: found.setdefault(plan.name, plan))
        monkeypatch.setattr(
            "gensweep.report.charts.metric_history", lambda trial, name: (signals or {}).get((trial.trial, name), [])
        )
        comparison = compared(trials)
        draw_charts(
            comparison, BudgetVerdict(None, comparison.winner, 1.0, **verdict), lambda run_id: f"page of {run_id}"
        )
        return found

    return planned


def compared(trials):
    names = dict.fromkeys(each.sweep for each in trials)
    return compare([sweep(name, [each for each in trials if each.sweep == name]) for name in names])


@pytest.mark.parametrize(("mode", "best"), [("min", min), ("max", max)])
def test_the_line_of_a_history_is_the_best_so_far(mode, best, plans):
    values = [50.0, 40.0, 45.0, 30.0, 90.0]
    [panel] = plans([trial("a", n, value, mode=mode) for n, value in enumerate(values)])["Optimisation history"].panels
    steps = dict(panel.lines[0].points)
    assert [steps[max(x for x in steps if x <= n)] for n in range(1, 6)] == list(accumulate(values, best))
    assert set(steps) == {1, 5} | {n for n in (2, 4, 5) if values[n - 1] == best(values[:n])}
    assert [(dot.x, dot.y) for dot in panel.dots] == list(enumerate(values, 1))


def test_marks_say_what_the_trial_is_and_lead_to_its_run(plans):
    one = trial("a", 1, 40.0, params={"x.width": 64}, status="pruned")
    [panel] = plans([one, trial("a", 2, 50.0, params={"x.width": 32})])["Optimisation history"].panels
    note = panel.dots[0].note
    assert note.lines == (
        "a/t0001 (GAN, pruned)",
        "FD-EffNetLite0 40",
        "1k images, 10 s of training",
        "width=64",
    )
    assert note.link == "page of a-t0001"


def test_signals_have_a_panel_each_and_those_of_generated_images_are_dashed(plans):
    signals = {("t0000", "signal/accuracy_real"): [(1, 0.5)], ("t0000", "signal/accuracy_fake"): [(1, 0.4)]}
    signals[("t0000", "signal/accuracy_pairs")] = [(1, 0.6)]
    [panel] = plans([trial("a", 0, 5.0)], signals)["How the games went"].panels
    assert [(line.dashed, line.faint) for line in panel.lines] == [(False, False), (True, False), (False, True)]


def test_a_chart_without_anything_to_show_is_left_out(plans):
    assert set(plans([trial("a", 0, 5.0, cost=Cost())])) == {"Optimisation history"}


def searched(count):
    """Trials of two families, of which one is much better, and of a setting that matters a little."""
    return [
        trial("a", n, (10.0 if n % 2 else 90.0) * (1 + n % 3), family=("gan", "vdm")[n % 2], params={"gan.loss": n % 3})
        for n in range(count)
    ]


def test_what_mattered_has_the_families_first_and_then_the_settings_of_each(plans):
    chart = plans(searched(24))["What mattered"]
    whole, *families = chart.panels
    assert [bar.name for bar in whole.bars] == [
        "family",
        "settings of vdm",
        "settings of gan",
        "interactions and noise",
    ]
    assert sum(bar.share for bar in whole.bars) == pytest.approx(1)
    assert [(bars.title, [bar.name for bar in bars.bars]) for bars in families] == [
        ("settings of vdm", ["loss"]),
        ("settings of gan", ["loss"]),
    ]
    for bars in chart.panels:
        for bar in bars.bars:
            assert bar.interval is None or bar.interval[0] <= bar.share <= bar.interval[1]


def test_few_trials_are_shown_by_their_settings_and_nothing_is_said_of_what_matters(plans):
    trials = [*searched(6), trial("a", 6, 4.0, family="gan", params={"gan.loss": 1, "kind": "b"})]
    found = plans([replace(each, params={"kind": "a"} | dict(each.params)) for each in trials])
    assert "What mattered" not in found
    panels = {panel.x.title: panel for panel in found["Scores by setting"].panels}
    loss, kind = panels["loss"], panels["kind"]
    assert sorted((dot.x, dot.y) for dot in loss.dots) == sorted(
        (e.params["gan.loss"], e.objective.value) for e in trials
    )
    assert kind.x.names == ("a", "b")
    assert [dot.y for dot in kind.dots if dot.x == 1] == [4.0]


def test_a_figure_that_stands_alone_brings_its_colours_and_names_its_series(monkeypatch):
    monkeypatch.setattr("gensweep.report.charts.metric_history", lambda trial, name: [])
    families = [f"family-{letter}" for letter in "abcdefghi"]
    comparison = compared([trial("a", n, 40.0 + n, family=family) for n, family in enumerate(families)])
    files = figure_files(comparison, BudgetVerdict(None, comparison.winner, 1.0))
    history = next(ET.fromstring(svg) for name, svg in files.items() if "history" in name or "all-trials" in name)
    space = "{http://www.w3.org/2000/svg}"
    assert set(families) <= {text.text for text in history.iter(f"{space}text")}
    colours = {path.get("fill") for path in history.iter(f"{space}path")} - {None}
    assert {f"var(--c{number})" for number in range(8)} <= colours
    style = history.find(f"{space}style").text
    assert all(f"--c{number}: #" in style for number in range(8))
    *_, width, height = map(float, history.get("viewBox").split())
    assert (width, height) == (float(history.get("width")), float(history.get("height")))
