"""Every registered way to draw levels goes through these; then each against its paper."""

from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.diffusion.levels import (
    LOSSES_PER_TIMESTEP,
    TRAINING_LEVELS,
    Antithetic,
    DrawnLevels,
    Importance,
    LogNormal,
)
from gensweep.diffusion.parameterisations import PARAMETERISATIONS
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.schedules import linear
from gensweep.noise import Noise

TIMESTEPS = 20

every = pytest.mark.parametrize("kind", TRAINING_LEVELS.kinds())


@pytest.fixture
def process():
    return GaussianDiffusion(linear(TIMESTEPS))


def noise(start, stop):
    return Noise(3, torch.arange(start, stop))


def profile(t):
    """A made-up loss that is large at the first timesteps, as the variational bound's is."""
    return 10.0 ** (2 - t / 5)


def taught(process, batches=40, size=64, **settings):
    """Importance sampling that has seen the profile."""
    levels = Importance(process, **settings)
    for start in range(0, batches * size, size):
        drawn = levels.draw(noise(start, start + size), size)
        levels.observe(drawn, profile(drawn.t), noise(start, start + size), size)
    return levels


@every
def test_levels_are_positive_and_do_not_depend_on_the_workers(kind, process):
    levels = TRAINING_LEVELS[kind](process)
    whole = levels.draw(noise(64, 71), 7)
    first, second = levels.draw(noise(64, 67), 7), levels.draw(noise(67, 71), 7)
    if kind == "antithetic":  # A batch begins at a multiple of its size.
        whole = levels.draw(noise(63, 70), 7)
        first, second = levels.draw(noise(63, 66), 7), levels.draw(noise(66, 70), 7)
    assert whole.sigma.shape == (7,)
    assert whole.sigma.dtype == torch.float32
    assert (whole.sigma > 0).all()
    assert torch.equal(whole.sigma, torch.cat([first.sigma, second.sigma]))


@every
def test_levels_of_timesteps_say_which_and_others_do_not(kind, process):
    levels = TRAINING_LEVELS[kind](process)
    drawn = levels.draw(noise(0, 500), 500)
    assert (drawn.t is not None) is levels.discrete
    if drawn.t is not None:
        assert torch.equal(drawn.sigma, process.sigma_at(drawn.t))
        assert int(drawn.t.min()) == 0
        assert int(drawn.t.max()) == TIMESTEPS - 1


@every
def test_a_memory_is_of_buffers_and_the_same_levels_come_out_of_a_copy(kind, process):
    levels, other = TRAINING_LEVELS[kind](process), TRAINING_LEVELS[kind](process)
    for start in range(0, 640, 64):
        drawn = levels.draw(noise(start, start + 64), 64)
        losses = torch.ones(64) if drawn.t is None else profile(drawn.t)
        levels.observe(drawn, losses, noise(start, start + 64), 64)
    assert not list(levels.parameters())
    other.load_state_dict(levels.state_dict())
    assert torch.equal(levels.draw(noise(640, 704), 64).sigma, other.draw(noise(640, 704), 64).sigma)


@pytest.mark.parametrize("kind", [kind for kind in TRAINING_LEVELS if TRAINING_LEVELS[kind].discrete])
def test_before_anything_is_learnt_each_timestep_is_as_likely(kind, process):
    levels, size = TRAINING_LEVELS[kind](process), 40
    t = torch.cat([levels.draw(noise(start, start + size), size).t for start in range(0, 8000, size)])
    counts = torch.bincount(t, minlength=TIMESTEPS)
    assert (counts - 400).abs().max() < 5 * 20


@given(start=st.integers(0, 1000), size=st.integers(1, 300), timesteps=st.integers(1, 100))
def test_an_antithetic_batch_is_spread_evenly(start, size, timesteps):
    levels = Antithetic(GaussianDiffusion(linear(timesteps)))
    t = levels.draw(noise(start * size, (start + 1) * size), size).t
    counts = torch.bincount(t, minlength=timesteps)
    # Of points that are 1/size apart, an interval of 1/timesteps holds size/timesteps, up to one more or less.
    assert (counts - size / timesteps).abs().max() <= 1 + 1e-3


def test_antithetic_batches_differ(process):
    levels = Antithetic(process)
    times = [tuple(levels.draw(noise(start, start + 5), 5).t.sort().values.tolist()) for start in range(0, 100, 5)]
    assert len(set(times)) > 1


@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (0.5, 0.3)])
def test_lognormal_levels_have_the_stated_mean_and_deviation(process, mean, std):
    log = LogNormal(process, mean=mean, std=std).draw(noise(0, 40_000), 40_000).sigma.log()
    assert float(log.mean()) == pytest.approx(mean, abs=4 * std / 200)
    assert float(log.std()) == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS.kinds())
def test_what_a_network_is_to_learn_is_finite_at_all_levels_that_may_be_drawn(process, parameterisation):
    sigma = LogNormal(process, mean=10.0, std=10.0).draw(noise(0, 40_000), 40_000).sigma
    image = torch.full((len(sigma), 1, 1, 1), 0.5)
    assert PARAMETERISATIONS[parameterisation](sigma).target(image, -image, sigma).isfinite().all()


def test_lognormal_levels_are_those_of_karras_unless_set(process):
    levels = LogNormal(process)
    assert (levels.mean, levels.std) == (-1.2, 1.2)


def test_importance_follows_the_root_mean_square_of_the_losses(process):
    p = taught(process, uniform=0.1).probabilities()
    expected = profile(torch.arange(TIMESTEPS, dtype=torch.float64))
    torch.testing.assert_close(p, 0.9 * expected / expected.sum() + 0.1 / TIMESTEPS, rtol=1e-5, atol=0)


def test_importance_draws_as_often_as_its_probabilities_say(process):
    levels = taught(process)
    t = levels.draw(noise(10**6, 10**6 + 50_000), 50_000).t
    share = torch.bincount(t, minlength=TIMESTEPS) / 50_000
    assert (share - levels.probabilities()).abs().max() < 4 * 0.5 / 50_000**0.5


def test_importance_leaves_the_mean_and_lowers_the_variance(process):
    drawn = taught(process).draw(noise(10**6, 10**6 + 50_000), 50_000)
    weighted = drawn.weight * profile(drawn.t)
    even = profile(torch.arange(TIMESTEPS).float())
    assert float(weighted.mean()) == pytest.approx(float(even.mean()), rel=5e-3)
    assert float(weighted.std()) < 0.1 * float(even.std())


def test_importance_is_even_until_every_timestep_has_been_seen_often_enough(process):
    levels = Importance(process)
    t = torch.arange(TIMESTEPS).repeat_interleave(LOSSES_PER_TIMESTEP)[:-1]  # the last one once too few
    drawn = DrawnLevels(process.sigma_at(t), t)
    levels.observe(drawn, profile(t), noise(0, len(t)), len(t))
    torch.testing.assert_close(levels.probabilities(), torch.full((TIMESTEPS,), 1 / TIMESTEPS).double())
    one = torch.tensor([TIMESTEPS - 1])
    levels.observe(DrawnLevels(process.sigma_at(one), one), profile(one), noise(0, 1), 1)
    assert float(levels.probabilities()[0]) > 5 / TIMESTEPS


@given(batches=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=40), min_size=1, max_size=6))
def test_importance_remembers_the_last_losses_of_each_timestep(batches):
    """Against a queue for each timestep, which sees the images one by one."""
    process = GaussianDiffusion(linear(5))
    levels, queues = Importance(process), [deque(maxlen=LOSSES_PER_TIMESTEP) for _ in range(5)]
    value = 0
    for times in batches:
        t = torch.tensor(times)
        losses = torch.arange(value, value + len(t), dtype=torch.float32)
        value += len(t)
        levels.observe(DrawnLevels(process.sigma_at(t), t), losses, noise(0, len(t)), len(t))
        for step, loss in zip(times, losses.tolist(), strict=True):
            queues[step].append(loss)
    counts = levels.counts.tolist()
    for step, queue in enumerate(queues):
        kept = levels.losses[step, : min(LOSSES_PER_TIMESTEP, counts[step])]
        assert sorted(kept.tolist()) == sorted(queue)
