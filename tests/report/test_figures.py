"""What is drawn: the tests look at the marks of the SVG."""

import re
import xml.etree.ElementTree as ET

import pytest
from drawn import look_of, marks, spoken, texts
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gensweep.report.figures import draw_bars, draw_panel
from gensweep.report.plots import Axis, Band, Bar, Bars, Crossing, Dot, Level, Line, Note, Panel, SharedNote

NASTY = "<script>alert(1)</script> $x_1$ & \"'\x00\u2028"
LINK = "http://mlflow.example/#/experiments/1/runs/abc"
X, Y = Axis("compute"), Axis("FD")


def panel(**parts):
    return draw_panel(Panel(X, Y, **parts), "figure-1", "a title", "a description")


def dots(values):
    return [Dot(0, x, y, Note((f"at {x}",))) for x, y in values]


@pytest.mark.parametrize("look", ["broad", "slim"])
def test_a_figure_has_the_colours_and_font_of_the_page_and_loads_nothing(look):
    svg = ET.tostring(look_of(panel(dots=dots([(1, 2.0), (2, 3.0)])), look), encoding="unicode")
    assert "var(--c0)" in svg
    for foreign in ("http", "font-family", "image", "#"):
        assert foreign not in svg.replace(f"url(#figure-1-{look}-", "")


@pytest.mark.parametrize("look", ["broad", "slim"])
def test_screen_readers_find_a_title_a_description_and_the_values(look):
    root = look_of(panel(dots=dots([(1, 2.0)])), look)
    named = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    assert named[root.get("aria-labelledby")] == "a title"
    assert named[root.get("aria-describedby")] == "a description"
    assert [mark.words for mark in spoken(panel(dots=dots([(1, 2.0)])), look)] == ["at 1"]


def test_no_id_is_given_twice_on_a_page():
    both = panel(lines=[Line(0, [(1, 2.0), (2, 3.0)])]) + draw_panel(
        Panel(X, Y, lines=[Line(0, [(1, 2.0), (2, 3.0)])]), "figure-2", "t", "d"
    )
    ids = [element.get("id") for element in ET.fromstring(f"<x>{both}</x>").iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 8


def test_names_of_users_are_text_and_nothing_else():
    shown = NASTY.replace("\x00", "?").replace("\u2028", "?")
    parts = {
        "dots": [Dot(0, 1, 2.0, Note((NASTY,)))],
        "levels": [Level(NASTY, 2.0)],
        "crossings": [Crossing(NASTY, NASTY, 1.5, (1.0, 2.0))],
    }
    for svg in (panel(**parts), draw_bars(Bars(0, [Bar(NASTY, 1.0)]), "figure-1", NASTY, NASTY)):
        assert "<script" not in svg
        assert any(mark.words.startswith(shown) for mark in spoken(svg))
    assert texts(panel(**parts)).count(shown) == 3


def test_every_line_that_is_said_of_a_mark_stands_on_a_line_of_its_own():
    [mark] = spoken(panel(dots=[Dot(0, 1, 2.0, Note(("a/t1", "FD 2", "60k images")))]))
    assert mark.words == "a/t1\nFD 2\n60k images"


def test_marks_lead_to_their_runs_and_others_nowhere():
    drawn = panel(dots=[Dot(0, 1, 2.0, Note(("a",), LINK)), Dot(0, 2, 3.0, Note(("b",)))])
    assert {mark.words: mark.link for mark in spoken(drawn)} == {"a": LINK, "b": None}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=5))
@example([(1.0, 2.2250738585072014e-308)])
@example([(1.0, 2.2250738585072014e-308), (2.0, 1e6)])
@example([(1.0, 5e-324), (2.0, 1e-323)])
@example([(1.0, 5e-324), (2.0, 2.2250738585072014e-308)])
def test_every_finite_score_is_drawn_within_the_figure(values):
    drawn = panel(dots=dots(values), lines=[Line(1, values, Note(("line",)))])
    found = spoken(drawn)
    assert len([mark for mark in found if mark.words.startswith("at")]) == len(values)
    _, _, width, height = map(float, look_of(drawn).get("viewBox").split())
    assert all(0 <= x <= width and 0 <= y <= height for mark in found for x, y in mark.points)


def test_smaller_scores_are_lower_and_larger_budgets_further_right():
    first, second, third = spoken(panel(dots=dots([(1, 5.0), (2, 3.0), (3, 9.0)])))
    assert first.x < second.x < third.x
    assert second.height < first.height < third.height


def test_a_wide_range_is_drawn_on_a_logarithmic_axis_unless_it_counts():
    values = [(1, 5.0), (10, 5.0), (1000, 5.0)]
    left, middle, right = spoken(panel(dots=dots(values)))
    assert middle.x - left.x == pytest.approx((right.x - middle.x) / 2, rel=0.01)
    counted = draw_panel(Panel(Axis("trial", log=False), Y, dots=dots(values)), "f", "t", "d")
    left, middle, right = spoken(counted)
    assert middle.x - left.x == pytest.approx((right.x - middle.x) / 110, rel=0.01)


def test_numbers_of_an_axis_are_short():
    assert {"1k", "10k", "100k"} <= set(texts(panel(dots=dots([(900, 0.5), (120_000, 0.6)]))))


def test_hollow_marks_show_the_page_and_the_winner_has_a_ring():
    drawn = panel(dots=[Dot(2, 1, 2.0, Note(("a",)), hollow=True), Dot(2, 2, 1.0, Note(("b",)), ringed=True)])
    assert {mark.words: mark.style["fill"] for mark in spoken(drawn)} == {"a": "var(--page)", "b": "var(--c2)"}
    rings = [mark for mark in marks(drawn) if mark.style.get("stroke") == "var(--ink)"]
    assert [ring.points for ring in rings] == [mark.points for mark in spoken(drawn) if mark.words == "b"]


def test_series_differ_in_shape_and_not_in_colour_alone():
    drawn = panel(dots=[Dot(0, 1, 2.0, Note(("a",))), Dot(1, 2, 2.0, Note(("b",)))])
    first, second = spoken(drawn)
    assert first.style["d"] != second.style["d"]


def test_faint_lines_stand_back_and_dashed_ones_are_dashed():
    points = [(1, 9.0), (2, 4.0)]
    lines = [Line(0, points, Note(("a",))), Line(0, points, Note(("b",)), faint=True)]
    drawn = {
        mark.words: mark.style for mark in spoken(panel(lines=[*lines, Line(1, points, Note(("c",)), dashed=True)]))
    }
    assert float(drawn["b"]["stroke-opacity"]) < float(drawn["a"]["stroke-opacity"])
    assert float(drawn["b"]["stroke-width"]) < float(drawn["a"]["stroke-width"])
    assert drawn["c"]["stroke-dasharray"] != drawn["a"]["stroke-dasharray"]


def test_a_step_holds_its_value_until_the_next_point():
    [line] = spoken(panel(lines=[Line(0, [(1, 9.0), (2, 4.0)], Note(("a",)), step=True)]))
    assert "H" in line.style["d"] or len({y for _, y in line.points}) < len(line.points)


def test_a_crossing_names_what_is_best_on_each_side():
    drawn = panel(
        lines=[Line(0, [(1, 2.0), (3, 4.0)])], crossings=[Crossing("dcgan", "ddpm", 2.0, (1.5, 2.5), Note(("at 2 s",)))]
    )
    [rule] = spoken(drawn)
    assert rule.words == "at 2 s"
    places = {
        element.text: float(element.get("transform").partition("(")[2].partition(",")[0])
        for element in look_of(drawn).iter("text")
    }
    assert places["dcgan"] < rule.x < places["ddpm"]


def test_the_whole_width_is_divided_among_the_readings():
    drawn = panel(
        lines=[Line(0, [(1, 2.0), (9, 4.0)])], readings=[SharedNote(x, Note((f"at {x}",))) for x in (1.0, 5.0, 9.0)]
    )
    said = [element.find("title").text for element in look_of(drawn).iter("path") if element.find("title") is not None]
    assert said == ["at 1.0", "at 5.0", "at 9.0"]


def test_bands_and_intervals_of_levels_are_shaded():
    level = Level("real images", 2.0, Note(("floor",)), interval=(1.9, 2.1))
    drawn = panel(
        lines=[Line(3, [(1, 2.0), (3, 4.0)])], bands=[Band(3, [(1, 1.5, 2.5), (3, 3.5, 4.5)])], levels=[level]
    )
    shaded = [each.get("fill") for each in look_of(drawn).iter("path") if float(each.get("opacity", "1")) < 0.3]
    assert shaded == ["var(--c3)", "var(--faint)"]
    assert "real images" in texts(drawn)


@pytest.mark.parametrize("low", [-0.006, 0.0, 0.002])
def test_an_interval_that_leaves_a_logarithmic_axis_is_shaded_to_its_end(low):
    level = Level("real images", 0.004, Note(("floor",)), interval=(low, 0.014))
    drawn = panel(dots=dots([(1, 0.05), (4, 3.0)]), levels=[level], bands=[Band(3, [(1, low, 0.1), (4, low, 4.0)])])
    shaded = [each.get("d") for each in look_of(drawn).iter("path") if float(each.get("opacity", "1")) < 0.3]
    assert len(shaded) == 2
    assert "NaN" not in "".join(shaded)
    _, level_path = shaded
    heights = {float(number) for number in re.findall(r"v(-?[\d.]+)", level_path)}
    assert all(abs(height) > 10 for height in heights), level_path


def test_bars_are_as_long_as_the_shares_and_say_their_interval():
    drawn = draw_bars(Bars(2, [Bar("a", 0.4, (0.3, 0.5)), Bar("b", 0.2)]), "f", "t", "d")
    bars = [mark for mark in spoken(drawn) if mark.style.get("fill") == "var(--c2)"]
    lengths = [float(bar.style["d"].partition("h")[2].partition("v")[0]) for bar in bars]
    assert lengths[0] == pytest.approx(2 * lengths[1], rel=0.01)
    assert bars[0].words == "a\n40 %\n95 %: 30 to 50 %"
    assert {"a", "40 %", "b", "20 %"} <= set(texts(drawn))


def test_an_axis_with_names_has_them_in_the_place_of_numbers():
    names = ("linear", 'it\'s "quoted"', "<b>")
    svg = draw_panel(
        Panel(Axis("schedule", names=names), Y, dots=[Dot(0, n, 1.0 + n) for n in range(3)]), "f", "t", "d"
    )
    assert {"schedule", *names} <= set(ET.fromstring(f"<x>{svg}</x>").itertext())
