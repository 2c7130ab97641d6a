"""The selectivity of units: effects that are there are found, and nothing where nothing is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.extras.interpret.activation_maps import selectivity
from gensweep.noise import Noise

N, K, U = 12, 4, 30


def permutations(count=199, key=0):
    return Noise(key, torch.arange(count))


def null(key, n=N, k=K, u=U):
    """Units that look at the image, and to labels only by chance; each of its own size."""
    noise = Noise(key, torch.arange(n))
    images, chance = noise.normal(1, u, stream=1), noise.normal(k, u, stream=2)
    return (5 * images + chance) * torch.logspace(-3, 3, u)


def test_effect_is_the_difference_of_means_in_standard_deviations():
    responses = null(1)
    found = selectivity(responses, permutations(3)).effect
    a = responses.double().numpy()
    for label in range(K):
        others = np.delete(a, label, axis=1).mean(axis=1)
        expected = (a[:, label] - others).mean(axis=0) / a.std(axis=(0, 1))
        np.testing.assert_allclose(found[label].numpy(), expected, rtol=1e-10)


def test_a_unit_that_follows_one_label_is_found_and_no_other():
    responses = null(2)
    responses[:, 3, 7] += 4 * responses[..., 7].std()
    found = selectivity(responses, permutations(999))
    assert found.p[3, 7] <= 0.001
    assert found.effect[3].argmax() == 7
    others = torch.ones(U, dtype=torch.bool)
    others[7] = False
    assert (found.p[:, others] > 0.05).all()


def test_if_labels_do_nothing_five_in_a_hundred_tests_find_anything():
    false = [bool((selectivity(null(100 + i), permutations(99, key=i)).p <= 0.05).any()) for i in range(300)]
    # The binomial's 0.1 % and 99.9 % points for 300 draws of 0.05.
    assert 4 <= sum(false) <= 28


def noisier(key, n):
    """Units that a label makes vary four times as much, about the same mean."""
    responses = null(key, n=n)
    responses[:, 0] += 4 * torch.logspace(-3, 3, U) * Noise(key, torch.arange(n)).normal(U, stream=3)
    return responses


@pytest.mark.trains
@pytest.mark.parametrize("n", [12, 32])
def test_a_label_that_changes_only_how_much_units_vary_is_no_effect(n):
    false = [bool((selectivity(noisier(100 + i, n), permutations(99, key=i)).p <= 0.05).any()) for i in range(300)]
    # The binomial's 99.9 % point for 300 draws of 0.05.
    assert sum(false) <= 28


def test_units_that_labels_cannot_reach_have_no_effect():
    responses = null(4)
    responses[..., 0] = 0.3
    responses[..., 1] = responses[:, :1, 1]
    responses[:, 3, 7] += 4 * responses[..., 7].std()
    found = selectivity(responses, permutations())
    assert (found.effect[:, :2] == 0).all()
    assert (found.p[:, :2] == 1).all()
    assert found.p[3, 7] == 1 / 200


@given(key=st.integers(0, 2**32), scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10))
def test_neither_scale_nor_offset_of_a_unit_matters(key, scale, shift):
    responses = null(key, n=4, k=3, u=3)[..., 1:2].double()
    one = selectivity(responses, permutations(19))
    other = selectivity(responses * scale + shift * responses.std() * scale, permutations(19))
    torch.testing.assert_close(one.effect, other.effect, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(one.p, other.p)
