from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import IDENTITY

from gensweep.metrics.titles import metric_title
from gensweep.report.wording import (
    count,
    duration,
    format_amount,
    format_guess,
    format_interval,
    format_probability,
    format_range,
    format_settings,
    score,
    short_names,
    size,
)
from gensweep.results import Score


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (512, "512"), (12_800, "12.8k"), (999_900, "1M"), (3_576_704, "3.58M"), (None, "-")]
)
def test_counts(value, words):
    assert count(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0123, "12 ms"),
        (0.31, "0.3 s"),
        (59, "59 s"),
        (250, "4 min 10 s"),
        (11_100, "3 h 05 min"),
        (float("nan"), "-"),
        (None, "-"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


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


def test_amounts_of_compute_are_said_in_their_unit():
    assert format_amount(7.3e12, "flops") == "7.3 TFLOPs"
    assert format_amount(512, "flops") == "512 FLOPs"
    assert format_amount(2.7e18, "flops") == "2.7 EFLOPs"
    assert format_amount(5e22, "flops") == "50 ZFLOPs"
    assert format_amount(250, "device_seconds") == "4 min 10 s"
    assert format_amount(60_000, "images") == "60k images"
    assert format_amount(None, "flops") == "-"
    assert format_range(9e8, 8.1e12, "flops") == "900 MFLOPs to 8.1 TFLOPs"
    assert format_range(5400, 12600, "device_seconds") == "1 h 30 min to 3 h 30 min"


def test_a_guess_is_marked_and_says_how_many_images_would_be_enough():
    sure = Score(30.0, "min", IDENTITY, corrected=20.0, error=1.0, low=17.5, high=23.5, needed=IDENTITY.samples)
    guessed = replace(sure, needed=5 * IDENTITY.samples)
    assert (format_interval(sure), format_guess(sure)) == ("20 (17.5 to 23.5)", "")
    assert format_interval(guessed) == "~20 (17.5 to 23.5)"
    words = f"{IDENTITY.samples:,} images do not show all directions of these features, {5 * IDENTITY.samples:,} would."
    assert format_guess(guessed) == f"Values without bias are partly a guess (~): {words}"


@pytest.mark.parametrize(
    ("amount", "words"),
    [(None, "-"), (0, "0 KiB"), (41_000, "40 KiB"), (2**20, "1.0 MiB"), (50 * 2**20, "50 MiB"), (2**31, "2.0 GiB")],
)
def test_bytes_are_told_in_the_unit_that_shows_them(amount, words):
    assert size(amount) == words
