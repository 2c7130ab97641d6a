"""Pictures of a page."""

import base64
import io

import numpy as np
from PIL import Image

from gensweep.report.page_pictures import picture_urls


def png(side, seed=0):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def opened(url):
    return Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2])))


def test_pictures_that_fit_stay_as_they_are():
    pictures = {"a": png(8), "b": png(9)}
    urls = picture_urls(pictures, 10_000)
    assert {
        name: base64.b64decode(url.removeprefix("data:image/png;base64,")) for name, url in urls.items()
    } == pictures


def test_pictures_that_do_not_fit_are_compressed_before_they_are_made_smaller():
    whole = {"a": png(200), "b": png(200, 1)}
    amount = sum(map(len, whole.values()))
    compressed = picture_urls(whole, amount - 1)
    assert all(url.startswith("data:image/webp;base64,") for url in compressed.values())
    assert [opened(url).size for url in compressed.values()] == [(200, 200)] * 2
    smallest = picture_urls(whole, 1)
    assert [opened(url).size for url in smallest.values()] == [(50, 50)] * 2
