"""Schedules that can be learnt: every registered one rises, between exact ends, whatever has been learnt."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.diffusion.gamma import GAMMAS
from gensweep.errors import ConfigError
from gensweep.registry import keywords

LOW, HIGH = -13.3, 5.0

every_schedule = pytest.mark.parametrize("kind", GAMMAS.kinds())


def schedule(kind, **values):
    small = {"features": 32} if "features" in keywords(GAMMAS[kind]) else {}
    return GAMMAS[kind](**small | values)


def moved(gamma, scale, seed=0):
    """A schedule whose parameters are anywhere."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in gamma.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return gamma


def times(n=1001):
    return torch.linspace(0, 1, n, dtype=torch.float64)


@every_schedule
def test_it_begins_near_a_line_between_the_ends_that_were_set(kind):
    gamma = schedule(kind)(times()).gamma.detach()
    assert float(gamma[0]) == pytest.approx(LOW, abs=1e-5)
    assert float(gamma[-1]) == pytest.approx(HIGH, abs=1e-5)
    assert float((gamma - torch.lerp(gamma[0], gamma[-1], times())).abs().max()) < 0.05 * (HIGH - LOW)


def test_noise_at_the_ends_is_that_of_the_paper():
    gamma = schedule("linear")(times(2)).gamma
    assert torch.sigmoid(gamma).tolist() == pytest.approx([1.67449e-6, 0.9933071], rel=1e-5)


@every_schedule
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(0, 10))
def test_it_rises_between_exact_ends_whatever_is_learnt(kind, seed, scale):
    gamma = moved(schedule(kind), scale, seed)
    values = gamma(times())
    start, end = gamma.reach(times())
    assert float(values.gamma[0].detach()) == pytest.approx(float(start.detach()), abs=1e-9)
    assert float(values.gamma[-1].detach()) == pytest.approx(float(end.detach()), abs=1e-9)
    assert (values.gamma.diff() >= 0).all()
    assert (values.slope > 0).all()


@every_schedule
def test_the_slope_is_the_derivative(kind):
    t = times().requires_grad_()
    values = moved(schedule(kind), 1.0)(t)
    (derivative,) = torch.autograd.grad(values.gamma.sum(), t)
    torch.testing.assert_close(values.slope, derivative)


@every_schedule
def test_time_for_networks_is_linear_in_the_level_and_below_1000(kind):
    gamma = moved(schedule(kind), 1.0)
    levels = torch.tensor([LOW - 1, LOW, (LOW + HIGH) / 2, HIGH, HIGH + 1])
    time = gamma.time_at(levels)
    assert time.tolist() == pytest.approx([0, 0, 500, 1000, 1000], abs=1e-3)
    assert float(time.max()) < 1000


@every_schedule
@pytest.mark.parametrize("timesteps", [None, 20])
def test_samplers_stop_at_levels_of_the_schedule_from_the_end_down(kind, timesteps):
    gamma = moved(schedule(kind, timesteps=timesteps), 0.3)
    for steps in (1, 2, 7, 20):
        sigmas = gamma.sigmas(steps)
        assert len(sigmas) == steps + 1
        assert sigmas[-1] == 0
        assert all(high > low for high, low in itertools.pairwise(sigmas))
        assert sigmas[0] == pytest.approx(float((gamma.reach(times())[1] / 2).exp().detach()))
        for spacing in ("karras", "log_snr"):
            other = gamma.sigmas(steps, spacing)
            assert [other[0], other[-2]] == pytest.approx([sigmas[0], sigmas[-2]])
    t = torch.arange(20, 0, -1, dtype=torch.float64) / 20
    if timesteps:
        assert gamma.sigmas(None) == pytest.approx([*(gamma(t).gamma / 2).exp().tolist(), 0])
    else:
        assert len(gamma.sigmas(None)) == 1001


def test_more_steps_than_there_are_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigError, match=r"steps=30, timesteps=20; take fewer steps, or more timesteps"):
        schedule("linear", timesteps=20).sigmas(30)
