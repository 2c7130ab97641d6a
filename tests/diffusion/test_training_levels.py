"""Every registered way to draw levels goes through these; then each against its paper."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.diffusion.levels import (
    TRAINING_LEVELS,
    Antithetic,
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


@pytest.mark.parametrize("kind", [kind for kind in TRAINING_LEVELS if TRAINING_LEVELS[kind].discrete])
def test_each_timestep_is_as_likely(kind, process):
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


@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (0.5, 0.3)])
def test_lognormal_levels_have_their_mean_and_deviation(process, mean, std):
    """The defaults are those of Karras et al. 2022."""
    settings = {} if mean == -1.2 else {"mean": mean, "std": std}
    log = LogNormal(process, **settings).draw(noise(0, 40_000), 40_000).sigma.log()
    assert float(log.mean()) == pytest.approx(mean, abs=4 * std / 200)
    assert float(log.std()) == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS.kinds())
def test_targets_are_finite_at_all_levels(process, parameterisation):
    sigma = LogNormal(process, mean=10.0, std=10.0).draw(noise(0, 40_000), 40_000).sigma
    image = torch.full((len(sigma), 1, 1, 1), 0.5)
    assert PARAMETERISATIONS[parameterisation](sigma).target(image, -image, sigma).isfinite().all()
