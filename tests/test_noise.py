import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.noise import Noise, philox


def words(counter, key):
    return [int(word) for word in philox(tuple(torch.tensor([[word]]) for word in counter), key)]


def noise(n, key=7):
    return Noise(key, torch.arange(n))


def kolmogorov_smirnov(sorted_cdf):
    """The statistic sqrt(n) D, which exceeds 1.95 in one of a thousand draws."""
    n = len(sorted_cdf)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    gap = torch.maximum((steps[1:] - sorted_cdf).max(), (sorted_cdf - steps[:-1]).max())
    return math.sqrt(n) * float(gap)


def reference_philox(counter, key):
    """Philox4x32-10 in Python's own integers, as in the paper's section 5."""
    x, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [p1 >> 32 ^ x[1] ^ k[0], p1 % 2**32, p0 >> 32 ^ x[3] ^ k[1], p0 % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return x


def test_philox_gives_the_known_answers_of_random123():
    ones = 0xFFFFFFFF
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert words((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert words((ones,) * 4, (ones, ones)) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert words(pi, (0xA4093822, 0x299F31D0)) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


word = st.integers(0, 2**32 - 1)


@given(key=st.integers(0, 2**64 - 1), sample=st.integers(0, 2**63 - 1), stream=word, element=st.integers(0, 40))
def test_a_number_is_a_function_of_key_sample_stream_and_element(key, sample, stream, element):
    block = (element // 4, stream, sample % 2**32, sample >> 32)
    expected = reference_philox(block, (key % 2**32, key >> 32))[element % 4]
    drawn = Noise(key, torch.tensor([sample])).integers(2**31, 41, stream=stream)[0, element]
    assert int(drawn) == expected >> 1


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_rows_do_not_depend_on_the_batch_they_are_drawn_in(kind):
    whole = getattr(noise(50), kind)(3, 5, 7, stream=2)
    for part in (slice(0, 1), slice(10, 33), slice(49, 50)):
        alone = getattr(Noise(7, torch.arange(50)[part]), kind)(3, 5, 7, stream=2)
        assert torch.equal(alone, whole[part])


def test_large_draws_are_the_same_as_small_ones():
    # Large draws are made in pieces that fit the cache, so rows are compared across their borders.
    whole = noise(40).normal(64, 64, stream=0)
    assert torch.equal(whole, torch.cat([Noise(7, torch.tensor([i])).normal(64, 64, stream=0) for i in range(40)]))


def test_normal_numbers_are_normal():
    z = noise(500).normal(1000, stream=3).flatten().double()
    assert kolmogorov_smirnov(torch.special.ndtr(z.sort().values)) < 1.95
    assert abs(float(z.mean())) < 5e-3
    assert abs(float(z.var()) - 1) < 1e-2
    assert abs(float((z**4).mean()) - 3) < 6e-2
    assert torch.isfinite(z).all()


def test_uniform_numbers_are_uniform_in_the_half_open_interval():
    u = noise(500).uniform(1000, stream=3).flatten().double()
    assert kolmogorov_smirnov(u.sort().values) < 1.95
    assert u.min() >= 0
    assert u.max() < 1


@given(high=st.integers(1, 2**31), n=st.integers(0, 9))
def test_integers_are_in_range(high, n):
    drawn = noise(n).integers(high, 3, stream=0)
    assert drawn.shape == (n, 3)
    assert bool(((drawn >= 0) & (drawn < high)).all())


@pytest.mark.parametrize("high", [0, -1, 2**31 + 1])
def test_integers_refuse_a_bound_that_they_cannot_serve(high):
    with pytest.raises(ValueError, match=f"got high={high}"):
        noise(1).integers(high, stream=0)
