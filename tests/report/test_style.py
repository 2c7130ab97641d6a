"""The colours of pages: contrasts of WCAG 2.1, AA."""

import re
from importlib.resources import files

import pytest

from gensweep.report.figures import COLOURS

#: WCAG 2.1, 1.4.3 and 1.4.11: the least contrast of text, and of what else must be seen.
TEXT, SHAPES = 4.5, 3.0


def palettes():
    """The colours of the light and of the dark page."""
    css = files("gensweep.report").joinpath("style.css.j2").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.S)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": light | dark}


def luminance(colour):
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_black_and_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("ground", ["page", "card", "mark"])
@pytest.mark.parametrize("text", ["ink", "faint", "warn"])
def test_text_can_be_read(look, ground, text):
    colours = palettes()[look]
    assert contrast(colours[text], colours[ground]) >= TEXT


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("series", range(COLOURS))
def test_series_can_be_seen(look, series):
    colours = palettes()[look]
    assert min(contrast(colours[f"c{series}"], colours[ground]) for ground in ("page", "card", "mark")) >= SHAPES
