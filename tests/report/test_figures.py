"""What is drawn: the tests look at the marks of the SVG."""

import xml.etree.ElementTree as ET

import pytest
from drawn import marks, spoken, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gensweep.report.figures import Crossing, Dot, Figure, Level, Line, Panel
from gensweep.verdict.importance import ShareInterval

NASTY = "<script>alert(1)</script> $x_1$ & \"'"


def panel(**parts):
    [svg] = Figure("a title", "a description", [Panel("compute", "FD", **parts)]).svgs("figure-1")
    return svg


def bars(*shown):
    [svg] = Figure(NASTY, NASTY, bars=shown).svgs("f")
    return svg


def dots(values):
    return [Dot(0, x, y, (f"at {x}",)) for x, y in values]


def test_a_figure_has_the_colours_and_font_of_the_page_and_loads_nothing():
    svg = ET.tostring(ET.fromstring(panel(dots=dots([(1, 2.0), (2, 3.0)]))), encoding="unicode")
    assert "var(--c0)" in svg
    for foreign in ("http", "font-family", "image", "#"):
        assert foreign not in svg


def test_screen_readers_find_a_title_a_description_and_the_values():
    root = ET.fromstring(panel(dots=dots([(1, 2.0)])))
    named = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    assert named[root.get("aria-labelledby")] == "a title"
    assert named[root.get("aria-describedby")] == "a description"
    assert [mark.words for mark in spoken(panel(dots=dots([(1, 2.0)])))] == ["at 1"]


def test_no_id_is_given_twice_in_a_figure():
    shown = Panel("x", "y", lines=[Line(0, [(1, 2.0), (2, 3.0)])])
    both = "".join(Figure("t", "d", [shown, shown]).svgs("figure-1"))
    ids = [element.get("id") for element in ET.fromstring(f"<x>{both}</x>").iter() if element.get("id")]
    assert len(ids) == len(set(ids)) == 4


def test_names_of_users_are_text_and_nothing_else():
    parts = {
        "dots": [Dot(0, 1, 2.0, (NASTY,))],
        "levels": [Level(NASTY, 2.0)],
        "crossings": [Crossing(NASTY, NASTY, 1.5, (1.0, 2.0))],
    }
    for svg in (panel(**parts), bars((NASTY, ShareInterval(1.0, 0.9, 1.0)))):
        assert "<script" not in svg
        assert any(mark.words.startswith(NASTY) for mark in spoken(svg))
    assert texts(panel(**parts)).count(NASTY) == 3


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(-1e6, 1e6).map(lambda y: round(y, 6))), min_size=1, max_size=5))
def test_every_finite_score_is_drawn_within_the_figure(values):
    drawn = panel(dots=dots(values), lines=[Line(1, values, ("line",))])
    found = spoken(drawn)
    assert len([mark for mark in found if mark.words.startswith("at")]) == len(values)
    _, _, width, height = map(float, ET.fromstring(drawn).get("viewBox").split())
    assert all(0 <= x <= width and 0 <= y <= height for mark in found for x, y in mark.points)


def test_smaller_scores_are_lower_and_larger_budgets_further_right():
    first, second, third = spoken(panel(dots=dots([(1, 5.0), (2, 3.0), (3, 9.0)])))
    assert first.x < second.x < third.x
    assert second.height < first.height < third.height


def test_a_wide_range_is_drawn_on_a_logarithmic_axis():
    values = [(1, 5.0), (10, 5.0), (1000, 5.0)]
    left, middle, right = spoken(panel(dots=dots(values)))
    assert middle.x - left.x == pytest.approx((right.x - middle.x) / 2, rel=0.01)


def test_numbers_of_an_axis_are_short():
    assert {"1k", "10k", "100k"} <= set(texts(panel(dots=dots([(900, 0.5), (120_000, 0.6)]))))


def test_hollow_marks_show_the_page_and_the_winner_has_a_ring():
    drawn = panel(dots=[Dot(2, 1, 2.0, ("a",), hollow=True), Dot(2, 2, 1.0, ("b",), ringed=True)])
    assert {mark.words: mark.style["fill"] for mark in spoken(drawn)} == {"a": "var(--page)", "b": "var(--c2)"}
    rings = [mark for mark in marks(drawn) if mark.style.get("stroke") == "var(--ink)"]
    assert [ring.points for ring in rings] == [mark.points for mark in spoken(drawn) if mark.words == "b"]


def test_faint_lines_stand_back():
    points = [(1, 9.0), (2, 4.0)]
    lines = [Line(0, points, ("a",)), Line(0, points, ("b",), faint=True)]
    drawn = {mark.words: mark.style for mark in spoken(panel(lines=lines))}
    assert float(drawn["b"]["stroke-width"]) < float(drawn["a"]["stroke-width"])


def test_a_crossing_names_what_is_best_on_each_side():
    drawn = panel(
        lines=[Line(0, [(1, 2.0), (3, 4.0)])], crossings=[Crossing("dcgan", "ddpm", 2.0, (1.5, 2.5), ("at 2 s",))]
    )
    [rule] = spoken(drawn)
    assert rule.words == "at 2 s"
    places = {element.text: float(element.get("x")) for element in ET.fromstring(drawn).iter("text")}
    assert places["dcgan"] < rule.x < places["ddpm"]


@pytest.mark.parametrize("low", [-0.006, 0.0, 0.002])
def test_a_band_that_leaves_a_logarithmic_axis_is_shaded_to_its_end(low):
    lines = [Line(3, [(1, 0.05), (4, 3.0)], band=[(1, low, 0.1), (4, low, 4.0)])]
    [band] = (each for each in ET.fromstring(panel(lines=lines)).iter() if float(each.get("opacity", "1")) < 0.3)
    assert band.get("fill") == "var(--c3)"
    assert "nan" not in band.get("d")


def test_bars_are_as_long_as_the_shares_and_say_their_interval():
    drawn = bars(("a", ShareInterval(0.4, 0.3, 0.5)), ("b", ShareInterval(0.2, 0.0, 0.3)))
    first, second = (mark for mark in spoken(drawn) if mark.style.get("fill") == "var(--c0)")
    assert float(first.style["width"]) == pytest.approx(2 * float(second.style["width"]), rel=0.01)
    assert first.words == "a\n40 %\n95 %: 30 to 50 %"
    assert {"a", "40 %", "b", "20 %"} <= set(texts(drawn))
