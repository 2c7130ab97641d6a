"""Pages of sections, and the pictures on them."""

import io
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gensweep.interpret.activation_maps import ActivationMap
from gensweep.interpret.intervention import OFF, RANDOM_OFF, UNCHANGED, Intervention, Recognition
from gensweep.interpret.page import PagePicture, PageSection, file_words, render_page
from gensweep.interpret.pictures import animation, heated, layers_picture, tiles_picture, units_picture
from gensweep.interpret.tables import conclusion, intervention_rows

NASTY = '<script>alert("x")</script>'


def opened(data):
    return Image.open(io.BytesIO(data))


def test_names_of_users_are_escaped_and_nothing_is_fetched():
    words = {"conclusion": NASTY, "random": NASTY, "ceiling": 0.5}
    section = PageSection([PagePicture("a.gif", NASTY, b"GIF89a")], [{NASTY: NASTY, "n": "1"}], words)
    page = render_page(NASTY, {NASTY: NASTY}, {"interventions": section}, NASTY)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8
    assert re.findall(r'src="(.{14})', page) == ["data:image/gif"]
    assert "http" not in page


def test_tiles_are_the_images_in_their_places():
    images = torch.zeros(2, 3, 1, 8, 8, dtype=torch.uint8)
    images[1, 2] = 200
    frames = [images[row] for row in range(2)]
    with opened(animation(frames)) as film:
        assert film.n_frames == 2
        first = np.asarray(film.convert("L")).copy()
        film.seek(1)
        second = np.asarray(film.convert("L"))
    assert first.shape == second.shape == (66, 3 * 66)
    changed = np.abs(first.astype(int) - second) > 100
    assert changed[:, -66:].sum() == 64 * 64
    assert not changed[:, :-66].any()
    with opened(tiles_picture(images, ["a", "b"], ["x", "y", "z"])) as picture:
        assert (np.asarray(picture.convert("L")) == 200).sum() > 1000


def test_warmth_follows_the_map():
    images = torch.full((1, 3, 8, 8), 128, dtype=torch.uint8)
    maps = torch.zeros(1, 4, 4)
    maps[0, :, 2:] = 2.0
    warm = heated(images, maps)[0, 0].float()
    assert warm[:, 6:].mean() > warm[:, :2].mean() + 50


def test_pictures_of_a_map_in_which_nothing_was_found():
    effect = torch.zeros(1, 2, 3).double()
    found = ActivationMap({"generator.a": 3}, (None,), effect, torch.ones_like(effect), torch.ones(1, 3).double())
    assert units_picture(found, 0, ["a", "b"]) is None
    with opened(layers_picture(found)) as picture:
        assert min(picture.size) > 100


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
    images, ones = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), Recognition(*2 * [torch.ones(20).double()])
    found = [
        Intervention(0, change, 1, Recognition(*2 * [torch.tensor(own).double()]), ones, images)
        for change, own in ((UNCHANGED, [1] * 20), (OFF, off), (RANDOM_OFF, random))
    ]
    assert conclusion(found).startswith(words)
    assert conclusion(found).endswith("falls by 0.000 (standard error 0.000) and 0.000 (standard error 0.000).")
    rows = intervention_rows(found, ["cat"])
    assert [row["agreement_lost"] for row in rows] == [1 - row["agreement"] for row in rows]
    assert {row["others_score_lost"] for row in rows} == {0.0}


@given(st.lists(st.text("ab-_ !?ÄA", min_size=1, max_size=3), unique=True, max_size=6))
def test_no_two_classes_share_a_file_whatever_they_are_called(names):
    words = [word.lower() for word in file_words(names)]
    assert len(set(words)) == len(names)
    assert all(letter.isalnum() or letter in "-_" for word in words for letter in word)


@pytest.mark.parametrize("name", ["cat", "3", "großer_hund-2"])
def test_plain_names_stay_what_they_are(name):
    assert file_words([name, "other"]) == [name, "other"]
