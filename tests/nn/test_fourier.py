"""Fourier features against their formula."""

import math

import pytest
import torch

from gensweep.nn.fourier import FourierFeatures


@pytest.mark.parametrize("exponents", [(), (0,), (7, 8)])
def test_values_are_those_of_the_formula(exponents):
    x = torch.rand(2, 3, 4, 4) * 2 - 1
    features = FourierFeatures(exponents)
    out = features(x)
    assert out.shape[1] == features.channels(3) == 3 + 6 * len(exponents)
    assert torch.equal(out[:, :3], x)
    for place, n in enumerate(exponents):
        for half, wave in enumerate((math.sin, math.cos)):
            first = 3 + 6 * place + 3 * half
            expected = torch.tensor([wave(2**n * math.pi * v) for v in x.double().flatten().tolist()]).view(x.shape)
            torch.testing.assert_close(out[:, first : first + 3], expected, rtol=0, atol=1e-4)


def test_neighbouring_levels_look_the_same_to_the_finest_wave_and_half_a_level_the_opposite():
    """A period of n = 8 is 2/256, and levels are 2/255 apart."""
    levels = (torch.arange(3) * 2 / 255).view(3, 1, 1, 1)
    cosine = FourierFeatures((8,))(torch.cat([levels, levels + 1 / 255]))[:, 2].flatten()
    assert cosine.tolist() == pytest.approx([1, 1, 1, -1, -1, -1], abs=0.01)


def test_phases_stay_exact_in_low_precision():
    x = torch.rand(1, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(FourierFeatures((8,))(x), FourierFeatures((8,))(x.float()))
    assert FourierFeatures((8,))(x.bfloat16()).dtype == torch.float32
