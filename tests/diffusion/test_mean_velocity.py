"""The MeanFlow identity against the mean velocity between Gaussians in closed form, and automatic differentiation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.diffusion import straight_path
from gensweep.diffusion.straight_path import have_intervals, most_intervals, velocity_of_identity

MEAN, STD = 0.1, 0.2
T = torch.tensor([0.9, 0.5, 1.0, 0.3, 0.7, 0.99], dtype=torch.float64)
R = torch.tensor([0.0, 0.2, 0.0, 0.299, 0.7, 0.5], dtype=torch.float64)


def image(t):
    return t.view(-1, 1, 1, 1)


def std(t):
    return ((1 - t).square() * STD**2 + t.square()).sqrt()


def exact_velocity(z, t):
    t = image(t)
    return -MEAN + (t - (1 - t) * STD**2) / std(t).square() * (z - (1 - t) * MEAN)


def exact_mean(z, r, t):
    """The flow keeps (z - mean) / std, so where it is at r is known."""
    reached = (1 - image(r)) * MEAN + std(image(r)) / std(image(t)) * (z - (1 - image(t)) * MEAN)
    return torch.where(image(r == t), exact_velocity(z, t), (z - reached) / image((t - r).clamp(min=1e-300)))


def noise():
    return torch.randn(len(T), 1, 4, 4, dtype=torch.float64)


def residual(u, z, velocity):
    return float((velocity_of_identity(u, z, R, T, velocity) - u(z, R, T)).abs().max())


def test_the_identity_of_gaussians_has_second_order_error(monkeypatch):
    z = noise()
    errors = []
    for half in (0.004, 0.002, 0.001):
        monkeypatch.setattr(straight_path, "HALF_DIFFERENCE", half)
        errors.append(residual(exact_mean, z, exact_velocity(z, T)))
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_the_difference_is_the_derivative_along_the_path():
    """Of a function that is no mean velocity, by automatic differentiation."""
    mixing = torch.randn(16, 16, dtype=torch.float64) / 4

    def u(z, r, t):
        return torch.tanh((z.flatten(1) * (1 + t * r)[:, None]) @ mixing + t.square()[:, None]).view_as(z)

    z, velocity = noise(), noise()
    _, slope = torch.autograd.functional.jvp(lambda z, t: u(z, R, t), (z, T), (velocity, torch.ones_like(T)))
    found = velocity_of_identity(u, z, R, T, velocity)
    torch.testing.assert_close(found, velocity - image(T - R) * slope, rtol=0, atol=5e-4)


def test_without_an_interval_it_is_the_velocity():
    velocity = noise()
    assert torch.equal(velocity_of_identity(exact_mean, noise(), T, T, velocity), velocity)


@given(share=st.floats(0, 1), start=st.integers(0, 2**40), n=st.integers(1, 300))
def test_intervals_are_spread_evenly_over_the_stream_of_images(share, start, n):
    found = int(have_intervals(torch.arange(start, start + n), share).sum())
    assert most_intervals(n, share) - 1 <= found <= most_intervals(n, share)
    assert abs(found - n * share) < 1.001
