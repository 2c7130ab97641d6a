"""Samplers against what every one of them must do, on Gaussian data whose ideal denoiser is known."""

from typing import get_args

import pytest
import torch

from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.samplers.methods import ancestral, ddim
from gensweep.diffusion.samplers.sampler import SAMPLERS, Spacing, from_noise
from gensweep.diffusion.schedules import SCHEDULES, linear
from gensweep.errors import ConfigError
from gensweep.noise import Noise
from gensweep.registry import keywords

MEAN, STD = 0.3, 0.4

every_sampler = pytest.mark.parametrize("kind", SAMPLERS.kinds())
SPACED = [kind for kind in SAMPLERS if "spacing" in keywords(SAMPLERS[kind])]
every_spacing = pytest.mark.parametrize(
    ("kind", "spacing"),
    [(kind, None) for kind in SAMPLERS if kind not in SPACED]
    + [(kind, spacing) for kind in SPACED for spacing in get_args(Spacing)],
)


def ideal(x, sigma, *_):
    """E[x_0 | x] for images whose pixels are N(MEAN, STD^2)."""
    return MEAN + STD**2 * (x - MEAN) / (STD**2 + sigma**2)


def noise(n, start=0):
    return Noise(11, torch.arange(start, start + n))


def start(noise, size=16):
    return from_noise(noise.normal(1, size, size, stream=3))


@every_sampler
@pytest.mark.parametrize("schedule", SCHEDULES.kinds())
def test_gaussian_data_come_out_with_their_mean_and_deviation(kind, schedule):
    process, n = GaussianDiffusion(SCHEDULES[schedule](250)), noise(200)
    x = SAMPLERS[kind](process, ideal, start(n), n)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(x.std()) == pytest.approx(STD, rel=0.04)


@every_spacing
@pytest.mark.parametrize("steps", [1, 2, 7, 20, None])
def test_a_denoiser_that_knows_the_image_gets_it(kind, spacing, steps):
    process, n, image = GaussianDiffusion(linear(20)), noise(3), torch.rand(3, 1, 16, 16) * 2 - 1
    seen = []

    def denoise(x, sigma, *_):
        assert x.shape == image.shape
        seen.append(sigma)
        return image

    settings = {"spacing": spacing} if spacing else {}
    x = SAMPLERS[kind](process, denoise, start(n), n, steps=steps, **settings)
    assert torch.equal(x, image)
    assert sorted(seen, reverse=True) == seen
    assert list(dict.fromkeys(seen)) == process.sigmas(steps, spacing or "time")[:-1]
    assert len(seen) == (2 * len(set(seen)) - 1 if kind.endswith("heun") else len(set(seen)))


@every_sampler
def test_images_do_not_depend_on_the_split_into_batches(kind):
    process, n = GaussianDiffusion(linear(30)), noise(7)
    whole = SAMPLERS[kind](process, ideal, start(n), n)
    parts = [noise(3), noise(4, start=3)]
    split = torch.cat([SAMPLERS[kind](process, ideal, start(part), part) for part in parts])
    torch.testing.assert_close(split, whole)


@every_sampler
def test_sampling_twice_gives_the_same_and_does_not_touch_its_input(kind):
    process, n = GaussianDiffusion(linear(10)), noise(2)
    x_T = start(n)(float(process.sigma[-1]))
    kept = x_T.clone()
    once = SAMPLERS[kind](process, ideal, lambda _: x_T, n)
    assert torch.equal(once, SAMPLERS[kind](process, ideal, lambda _: x_T, n))
    assert torch.equal(x_T, kept)


@every_sampler
def test_more_steps_than_timesteps_are_refused(kind):
    process, n = GaussianDiffusion(linear(10)), noise(1)
    with pytest.raises(ConfigError, match="steps=11, timesteps=10"):
        SAMPLERS[kind](process, ideal, start(n), n, steps=11)


@pytest.mark.parametrize("schedule", SCHEDULES.kinds())
@pytest.mark.parametrize("steps", [None, 13])
def test_ddim_with_eta_1_equals_ancestral_sampler(schedule, steps):
    process, n = GaussianDiffusion(SCHEDULES[schedule](50)), noise(4)

    def denoise(x, sigma, *_):
        return ideal(x, sigma).clamp(-1, 1)

    torch.testing.assert_close(
        ddim(process, denoise, start(n), n, steps=steps, eta=1.0), ancestral(process, denoise, start(n), n, steps=steps)
    )
