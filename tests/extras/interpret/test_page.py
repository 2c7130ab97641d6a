"""Pages of sections, and the pictures on them."""

import re

import pytest
import torch

from gensweep.extras.interpret.intervention import OFF, RANDOM_OFF, UNCHANGED, Intervention
from gensweep.extras.interpret.page import PagePicture, conclusion, intervention_rows, render_page

NASTY = '<script>alert("x")</script>'


def test_names_of_users_are_escaped_and_nothing_is_fetched():
    unit = {"layer": NASTY, "unit": 1, "class": NASTY, "effect": 1.0, "level": 2.0, "effect_there": 1.0, "p": 0.01}
    numbers = dict.fromkeys(("units", "agreement", "score", "others_score"), 1)
    lost = dict.fromkeys((f"{key}_lost{end}" for key in ("score", "others_score") for end in ("", "_error")), 0.5)
    page = render_page(
        title=NASTY,
        facts={NASTY: NASTY},
        levels=True,
        significant=5.0,
        limit=0.05,
        units=[unit],
        interventions=[{"class": NASTY, "change": NASTY} | numbers | lost],
        conclusion=NASTY,
        random=NASTY,
        ceiling=0.5,
        pictures={"units": [PagePicture("a.png", NASTY, b"")], "interventions": [], "trajectory": []},
        command=NASTY,
    )
    assert "+0.50 ± 0.50" in page
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8
    assert re.findall(r'src="(.{14})', page) == ["data:image/png"]
    assert "http" not in page


@pytest.mark.parametrize(
    ("off", "random", "words"),
    [
        (
            [0] * 20,
            [1] * 20,
            "The units found matter: without them the score of a class on its own images falls by 1",
        ),
        ([1] * 20, [0] * 20, "The units found matter less than random ones"),
        ([1, 0] * 10, [0, 1] * 10, "Not shown that the units found matter"),
    ],
)
def test_the_conclusion_goes_either_way(off, random, words):
    images = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    found = []
    for change, own in ((UNCHANGED, [1] * 20), (OFF, off), (RANDOM_OFF, random)):
        measures = dict.fromkeys(("agreement", "score"), torch.tensor(own).double())
        measures |= dict.fromkeys(("others_agreement", "others_score"), torch.ones(20).double())
        found.append(Intervention(0, change, 1, measures, images))
    assert conclusion(found).startswith(words)
    assert conclusion(found).endswith("falls by 0.000 (standard error 0.000) and 0.000 (standard error 0.000).")
    rows = intervention_rows(found, ["cat"])
    assert [row["agreement_lost"] for row in rows] == [1 - row["agreement"] for row in rows]
    assert {row["others_score_lost"] for row in rows} == {0.0}
