"""Pages of sections, and the pictures on them."""

import re

from gensweep.extras.interpret.page import PagePicture, render_page

NASTY = '<script>alert("x")</script>'


def test_names_of_users_are_escaped_and_nothing_is_fetched():
    unit = {"layer": NASTY, "unit": 1, "class": NASTY, "effect": 1.0, "level": 2.0, "effect_there": 1.0, "p": 0.01}
    page = render_page(
        title=NASTY,
        facts={NASTY: NASTY},
        levels=True,
        significant=5.0,
        limit=0.05,
        units=[unit],
        pictures={"units": [PagePicture("a.png", NASTY, b"")], "trajectory": []},
        command=NASTY,
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8
    assert re.findall(r'src="(.{14})', page) == ["data:image/png"]
    assert "http" not in page
