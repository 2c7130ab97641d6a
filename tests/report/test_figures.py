"""What is drawn: the tests look at the marks of the SVG."""

import re
import xml.etree.ElementTree as ET
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gensweep.report.figures import Crossing, Dot, Figure, Level, Line, Panel

NASTY = "<script>alert(1)</script> $x_1$ & \"'"


class Mark(NamedTuple):
    """A mark of the data: its label and its points in the figure (y grows downwards)."""

    words: str
    points: list[tuple[float, float]]

    @property
    def x(self):
        return self.points[0][0]

    @property
    def height(self):
        return -self.points[0][1]


def spoken(svg):
    """The marks of an SVG that have a label."""
    found = []
    for element in ET.fromstring(svg).iter():
        style, title = element.attrib, element.find("title")
        if title is None or not re.fullmatch(r"var\(--(c\d|ink)\)", style.get("stroke", style.get("fill", ""))):
            continue
        places = re.findall(r"translate\(([-\d.e]+),([-\d.e]+)\)", style.get("transform", ""))
        places = places or re.findall(r"[ML]([-\d.e]+),([-\d.e]+)", style.get("d", ""))
        x, y = (next((style[name] for name in (f"c{axis}", f"{axis}1", axis) if name in style), None) for axis in "xy")
        found.append(Mark(title.text, [(float(a), float(b)) for a, b in places or [(x, y)]]))
    return found


def panel(**parts):
    [svg] = Figure("a title", "a description", [Panel("compute", "FD", **parts)]).svgs("figure-1")
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
    assert "<script" not in panel(**parts)
    assert any(mark.words.startswith(NASTY) for mark in spoken(panel(**parts)))
    assert [element.text for element in ET.fromstring(panel(**parts)).iter("text")].count(NASTY) == 3


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


def test_a_crossing_names_what_is_best_on_each_side():
    drawn = panel(
        lines=[Line(0, [(1, 2.0), (3, 4.0)])], crossings=[Crossing("dcgan", "ddpm", 2.0, (1.5, 2.5), ("at 2 s",))]
    )
    [rule] = spoken(drawn)
    assert rule.words == "at 2 s"
    places = {element.text: float(element.get("x")) for element in ET.fromstring(drawn).iter("text")}
    assert places["dcgan"] < rule.x < places["ddpm"]
