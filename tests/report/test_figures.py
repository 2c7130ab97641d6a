import xml.etree.ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gensweep.report.figures import (
    Curve,
    Point,
    cost_figure,
    curves_figure,
    history_figure,
    importance_figure,
    signals_figure,
)

NASTY = "<script>alert(1)</script> $x_1$ & \"'"


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter("text")]


def figures(name, values):
    points = [Point(name, 0, value, 1000 * (i + 1), 2.0 * i, pruned=i % 2 == 0) for i, value in enumerate(values)]
    yield history_figure({name: points, "b": []}, "FD", "min")
    yield cost_figure(points, {0: name}, "FD")
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
def test_any_finite_scores_can_be_drawn(values):
    for svg in figures("sweep", values):
        ET.fromstring(svg)


def test_a_wide_range_is_drawn_on_a_logarithmic_axis():
    points = [Point("a", 0, 5.0, images, 1.0) for images in (100, 100_000)]
    assert {"100", "100k"} <= set(texts(cost_figure(points, {0: "a"}, "FD")))
