from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import IDENTITY

from gensweep.metrics.titles import metric_title
from gensweep.report.wording import (
    format_guess,
    format_interval,
    format_probability,
    format_settings,
    score,
    short_names,
)
from gensweep.results import Score


def test_a_distance_is_called_fid_only_with_the_network_of_the_literature():
    assert metric_title("fd", IDENTITY) == "FD-EffNetLite0"
    inception = replace(IDENTITY, extractor="inception2015/2048@299px/float32/sha256:ab")
    for metric in ("fd", "fid"):
        assert metric_title(metric, inception) == "FID"
    assert metric_title("fd", replace(IDENTITY, extractor="something/12")) == "FD-something"
    assert metric_title("fd", None) == "FD"
    assert metric_title("kid", IDENTITY) == "KD-EffNetLite0"
    assert metric_title("kid", inception) == "KID"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.from_regex(r"[a-c](\.[a-c]){0,3}", fullmatch=True), max_size=8))
def test_short_names_are_endings_and_tell_keys_apart(keys):
    short = short_names(keys)
    assert set(short) == set(keys)
    assert all(key.endswith(name) for key, name in short.items())
    assert len(set(short.values())) == len(set(keys))


def test_settings_in_words():
    params = {"diffusion.schedule.kind": "cosine", "network.width": 64, "gan.width": 0.00012345, "flag": True}
    assert format_settings(params, list(params)) == "schedule=cosine network.width=64 gan.width=0.000123 flag=true"
    assert score(float("inf")) == "-"


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.0035, "under 1 %"),
        (0.006, "1 %"),
        (0.5, "50 %"),
        (0.947, "94 %"),
        (0.9499, "94 %"),
        (0.95, "95 %"),
        (0.994, "99 %"),
        (0.9958, "over 99 %"),
        (1.0, "over 99 %"),
    ],
)
def test_a_probability_is_rounded_to_the_side_on_which_it_is(probability, words):
    assert format_probability(probability) == words


def test_a_guess_is_marked_and_says_how_many_images_would_be_enough():
    sure = Score(30.0, "min", IDENTITY, corrected=20.0, error=1.0, low=17.5, high=23.5, needed=IDENTITY.samples)
    guessed = replace(sure, needed=5 * IDENTITY.samples)
    assert (format_interval(sure), format_guess(sure)) == ("20 (17.5 to 23.5)", "")
    assert format_interval(guessed) == "~20 (17.5 to 23.5)"
    words = f"these features need {5 * IDENTITY.samples:,} images, and {IDENTITY.samples:,} were used."
    assert format_guess(guessed) == f"Values without bias marked ~ are partly guessed: {words}"
