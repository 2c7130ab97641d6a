"""Random words by the compiled kernel are those by PyTorch's operations, whose answers tests/test_noise.py knows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_paths import PATHS, needs_kernel, running_on

from gensweep.noise import Noise, composed_words, is_compiled, philox_words

samples = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)


@given(key=st.integers(0, 2**64 - 1), numbers=samples, blocks=st.integers(0, 70), stream=st.integers(0, 2**32 - 1))
def test_both_paths_have_the_same_words(key, numbers, blocks, stream):
    needs_kernel()
    rows = torch.tensor(numbers, dtype=torch.int64)
    compiled, composed = (make(key, rows, blocks, stream) for make in (philox_words, composed_words))
    assert all(map(torch.equal, compiled, composed))


def test_samples_that_lie_apart_in_memory_are_read_right():
    needs_kernel()
    rows = torch.arange(20)[::3]
    assert all(map(torch.equal, philox_words(3, rows, 9, 1), philox_words(3, rows.contiguous(), 9, 1)))


@pytest.mark.parametrize("path", PATHS)
def test_the_kernel_draws_where_there_is_one_and_the_numbers_are_the_same(path):
    noise = Noise(7, torch.arange(40))
    expected = noise.normal(3, 32, 32, stream=2), noise.uniform(5, stream=1), noise.integers(6, 4, stream=0)
    with running_on(path):
        assert is_compiled(noise.samples) == (path == "c++")
        drawn = noise.normal(3, 32, 32, stream=2), noise.uniform(5, stream=1), noise.integers(6, 4, stream=0)
    assert all(map(torch.equal, drawn, expected))


def test_other_devices_and_transforms_take_pytorchs_operations():
    assert not is_compiled(torch.arange(3, device="meta"))
    assert Noise(1, torch.arange(3, device="meta")).normal(4, stream=0).device.type == "meta"
