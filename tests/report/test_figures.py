"""What is drawn: the tests look at the lines and markers of the SVG."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded import ranked, trial

from gensweep.report.figures import (
    MAX_BARS,
    Curve,
    cost_figure,
    curves_figure,
    history_figure,
    importance_figure,
    signals_figure,
)
from gensweep.results import Cost

NASTY = "<script>alert(1)</script> $x_1$ & \"'"


@dataclass
class Mark:
    """A line, bar or marker of the data: its points in the figure, where y grows downwards, and its style."""

    points: list[tuple[float, float]]
    style: dict[str, str]
    panel: str

    @property
    def colour(self):
        return self.style.get("stroke", self.style.get("fill"))


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter("text")]


def marks(svg, tag):
    """The lines and bars ("path") or the markers ("use") within the axes, without grid and legend."""
    found = []
    root = ET.fromstring(svg)
    inside = [(element, element.get("clip-path")) for element in root.iter("path")]
    inside += [(use, group.get("clip-path")) for group in root.iter("g") for use in group if group.get("clip-path")]
    for element, panel in inside:
        style = dict(part.split(": ", 1) for part in (element.get("style") or "").split("; ") if part)
        mark = Mark([], style, panel)
        if element.tag == tag and panel and re.fullmatch(r"var\(--(c\d|ink)\)", mark.colour or ""):
            numbers = [(element.get("x"), element.get("y"))]
            if tag == "path":
                numbers = re.findall(r"([-\d.]+) ([-\d.]+)", element.get("d"))
            mark.points = [(float(x), float(y)) for x, y in numbers]
            found.append(mark)
    return found


def heights(mark):
    return [-y for _, y in mark.points]


def figures(name, values):
    groups = ranked([trial(name, n, value, status="finished" if n % 2 else "pruned") for n, value in enumerate(values)])
    yield history_figure(groups, "FD")
    yield cost_figure(groups, "FD")
    yield importance_figure({name: {"a": 0.7, name: 0.3}}, {name: 0})
    yield curves_figure({name: [Curve("t", 0, list(enumerate(values)))], "b": [Curve("u", 1, [])]}, "FD")
    yield signals_figure({name: [Curve("t", 0, list(enumerate(values))), Curve("u", 0, [(0, 1.0)], faint=True)]})


@pytest.mark.parametrize("index", range(5))
def test_figures_are_svg_that_takes_its_colours_from_the_page(index):
    svg = list(figures("sweep", [5.0, 4.0, 9.0]))[index]
    assert svg.startswith('<svg class="figure"')
    assert "var(--c0)" in svg
    assert "#0000" not in svg
    for external in ("http", "<?xml", "metadata", "font-family"):
        assert external not in svg


def test_names_of_users_are_text_and_nothing_else():
    for svg in (
        importance_figure({NASTY: {NASTY: 1.0}}, {NASTY: 0}),
        curves_figure({NASTY: [Curve("t", 0, [(1, 2.0)])]}, "y"),
        signals_figure({NASTY: [Curve("t", 0, [(1, 2.0)])]}),
    ):
        assert NASTY in texts(svg)
        assert "<script" not in svg


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4))
def test_every_finite_score_is_drawn(values):
    history, cost, _, curves, signals = figures("sweep", values)
    assert len(marks(history, "use")) == len(values)
    assert len(marks(cost, "use")) == 2 * (len(values) + 1)  # two panels, and a ring around the winner in each
    assert len(marks(curves, "use")) == len(values)
    assert len(marks(signals, "path")) == 2


@pytest.mark.parametrize(("mode", "sign"), [("min", -1), ("max", 1)])
def test_the_line_of_a_history_is_the_best_so_far(mode, sign):
    values = [50.0, 40.0, 45.0, 30.0, 90.0]
    trials = [trial("a", n, value, mode=mode) for n, value in enumerate(values)] + [trial("b", 0, 60.0, mode=mode)]
    svg = history_figure(ranked(trials), "FD")
    dots = [mark for mark in marks(svg, "use") if mark.colour == "var(--c0)"]
    line = next(mark for mark in marks(svg, "path") if mark.colour == "var(--c0)")
    assert len(dots) == len(values)
    assert [mark.points[0][0] for mark in dots] == sorted(mark.points[0][0] for mark in dots)
    rising = [sign * height for height in heights(line)]
    assert rising == sorted(rising)
    assert rising[-1] == max(sign * heights(dot)[0] for dot in dots)
    assert {mark.colour for mark in marks(svg, "use")} == {"var(--c0)", "var(--c1)"}
    assert {"a", "b", "trial", "FD"} <= set(texts(svg))


def test_costs_mark_the_winner_and_open_circles_were_stopped_early():
    trials = [trial("a", 0, 50.0, status="pruned"), trial("a", 1, 40.0), trial("a", 2, 60.0, cost=Cost(images=9))]
    rings, circles = [], []
    for mark in marks(cost_figure(ranked(trials), "FD"), "use"):
        (rings if mark.colour == "var(--ink)" else circles).append(mark)
    # The third trial's seconds are not known, so it is missing in the second panel.
    assert len(circles) == 5
    assert sum(mark.style["fill-opacity"] == "0" for mark in circles) == 2
    lowest = [min(heights(mark)[0] for mark in circles if mark.panel == ring.panel) for ring in rings]
    assert [heights(ring)[0] for ring in rings] == lowest
    assert len(rings) == 2


def test_bars_are_as_long_as_the_shares_and_few_enough_to_read():
    shares = {f"setting{n}": 0.4 / (n + 1) for n in range(12)}
    svg = importance_figure({"a": shares, "none": {}}, {"a": 2, "none": 0})
    bars = marks(svg, "path")
    widths = sorted((max(x for x, _ in bar.points) - min(x for x, _ in bar.points) for bar in bars), reverse=True)
    assert len(widths) == MAX_BARS
    assert [width / widths[0] for width in widths] == pytest.approx([1 / (n + 1) for n in range(MAX_BARS)], abs=1e-4)
    assert {bar.colour for bar in bars} == {"var(--c2)"}
    assert {"a", "setting0", "40 %"} <= set(texts(svg))
    assert not {"none", "setting8"} & set(texts(svg))


def test_the_first_curve_of_each_panel_is_drawn_strongly():
    first, second = Curve("t1", 0, [(1, 9.0), (2, 4.0)]), Curve("t0", 0, [(1, 9.0), (2, 8.0)])
    svg = curves_figure({"a": [first, second], "b": [Curve("u", 1, []), Curve("v", 1, [(1, 5.0)])]}, "FD")
    strong = [mark for mark in marks(svg, "path") if mark.style.get("stroke-width") == "2"]
    weak = [mark for mark in marks(svg, "path") if mark not in strong]
    assert [mark.colour for mark in strong] == ["var(--c0)"]
    assert [mark.colour for mark in weak] == ["var(--c0)", "var(--c1)"]
    assert heights(strong[0])[-1] < heights(weak[0])[-1]


def test_signals_have_a_panel_each_and_faint_ones_are_dashed():
    curves = [Curve("real", 0, [(1, 0.5), (2, 0.9)]), Curve("fake", 0, [(1, 0.4), (2, 0.8)], faint=True)]
    svg = signals_figure({"accuracy": curves, "length": [Curve("real", 1, [(1, 10.0), (2, 20.0)])]})
    lines = marks(svg, "path")
    assert [("stroke-dasharray" in mark.style, mark.colour) for mark in lines] == [
        (False, "var(--c0)"),
        (True, "var(--c0)"),
        (False, "var(--c1)"),
    ]
    assert lines[0].panel == lines[1].panel != lines[2].panel
    assert {"accuracy", "length", "real", "fake"} <= set(texts(svg))


def test_a_wide_range_is_drawn_on_a_logarithmic_axis():
    costs = [Cost(images=images, train_seconds=1.0) for images in (100, 100_000)]
    trials = [trial("a", number, 5.0, cost=cost) for number, cost in enumerate(costs)]
    assert {"100", "100k"} <= set(texts(cost_figure(ranked(trials), "FD")))
