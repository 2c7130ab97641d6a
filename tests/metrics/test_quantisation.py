import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.errors import GensweepError
from gensweep.metrics.extractors import to_uint8


def test_every_pixel_survives_the_way_there_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(pixels.float() / 127.5 - 1), pixels)


@given(st.floats(-3, 3, width=32))
def test_is_floor_of_127_5_x_plus_128_clipped(x: float):
    expected = min(255, max(0, int(torch.tensor(x).mul(127.5).add(128).floor())))
    assert int(to_uint8(torch.tensor([x]))) == expected


def test_half_precision_is_widened_first():
    x = torch.tensor([0.9921875], dtype=torch.bfloat16)
    assert int(to_uint8(x)) == int(127.5 * 0.9921875 + 128)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_diverged_images_are_refused(bad: float):
    with pytest.raises(GensweepError, match="NaN or infinite"):
        to_uint8(torch.tensor([0.0, bad]))
