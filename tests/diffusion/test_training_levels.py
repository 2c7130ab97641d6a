"""Every registered way to draw levels goes through these; then each against its paper."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.diffusion.levels import TRAINING_LEVELS, antithetic, lognormal
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


def timesteps(process, sigma):
    """The timesteps that levels are those of; all have to be of one."""
    t = (sigma[:, None] - process.sigma.float()).abs().argmin(dim=1)
    assert torch.equal(process.sigma_at(t), sigma)
    return t


@every
def test_levels_are_positive_and_do_not_depend_on_the_workers(kind, process):
    levels = TRAINING_LEVELS[kind]
    whole = levels(process, noise(63, 70), 7)  # A batch begins at a multiple of its size.
    parts = [levels(process, noise(63, 66), 7), levels(process, noise(66, 70), 7)]
    assert whole.shape == (7,)
    assert whole.dtype == torch.float32
    assert (whole > 0).all()
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("kind", ["uniform", "antithetic"])
def test_each_timestep_is_as_likely(kind, process):
    size = 40
    drawn = [TRAINING_LEVELS[kind](process, noise(start, start + size), size) for start in range(0, 8000, size)]
    counts = torch.bincount(timesteps(process, torch.cat(drawn)), minlength=TIMESTEPS)
    assert (counts - 400).abs().max() < 5 * 20


@given(start=st.integers(0, 1000), size=st.integers(1, 300), count=st.integers(1, 100))
def test_an_antithetic_batch_is_spread_evenly(start, size, count):
    process = GaussianDiffusion(linear(count))
    t = timesteps(process, antithetic(process, noise(start * size, (start + 1) * size), size))
    counts = torch.bincount(t, minlength=count)
    # Of points that are 1/size apart, an interval of 1/count holds size/count, up to one more or less.
    assert (counts - size / count).abs().max() <= 1 + 1e-3


@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (0.5, 0.3)])
def test_lognormal_levels_have_their_mean_and_deviation(process, mean, std):
    """The defaults are those of Karras et al. 2022."""
    settings = {} if mean == -1.2 else {"mean": mean, "std": std}
    log = lognormal(process, noise(0, 40_000), 40_000, **settings).log()
    assert float(log.mean()) == pytest.approx(mean, abs=4 * std / 200)
    assert float(log.std()) == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS.kinds())
def test_targets_are_finite_at_all_levels(process, parameterisation):
    sigma = lognormal(process, noise(0, 40_000), 40_000, mean=10.0, std=10.0)
    image = torch.full((len(sigma), 1, 1, 1), 0.5)
    assert PARAMETERISATIONS[parameterisation](sigma).target(image, -image, sigma).isfinite().all()
