"""Variances of samples of Gaussian data, exactly, and what they say about the samplers' defaults."""

import functools
import itertools

import pytest
import torch

from gensweep.build.sampler_warnings import widening
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.samplers.methods import ancestral, ddim, dpmpp_2m, heun
from gensweep.diffusion.samplers.sampler import from_noise
from gensweep.diffusion.schedules import SCHEDULES, cosine, linear
from gensweep.noise import Noise

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.kinds())
STEPS = (5, 8, 10, 15, 20, 30, 50)
WIDTHS = (0.1, 0.25, 0.5, 1.0)


@functools.cache
def process(schedule):
    return GaussianDiffusion(SCHEDULES[schedule](1000))


@pytest.mark.parametrize("std", WIDTHS)
def test_that_of_ddim_is_the_product_of_its_steps(std):
    levels, share = process("linear"), 1.0
    sigmas = levels.sigmas(7)
    for now, after in itertools.pairwise(sigmas):
        seen = std**2 / (std**2 + now**2)
        share *= seen + after / now * (1 - seen)
    expected = share**2 * (1 + sigmas[0] ** 2) / std**2
    assert widening(levels, functools.partial(ddim, steps=7), std) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "sampler",
    [
        functools.partial(ancestral, steps=9),
        functools.partial(heun, steps=9, churn=5.0),
        functools.partial(ddim, eta=0.5),
    ],
    ids=["ancestral", "heun", "ddim"],
)
def test_that_of_samplers_with_noise_is_what_many_samples_have(sampler):
    levels, noise, std = GaussianDiffusion(cosine(40)), Noise(3, torch.arange(1000)), 0.5

    def ideal(x, sigma, *_):
        return x * std**2 / (std**2 + sigma**2)

    x = sampler(levels, ideal, from_noise(noise.normal(1, 8, 8, stream=3)), noise)
    assert float(x.var()) / std**2 == pytest.approx(widening(levels, sampler, std), rel=0.03)


@every_schedule
@pytest.mark.parametrize("std", WIDTHS)
@pytest.mark.parametrize("steps", STEPS[2:])
def test_dpm_solver_keeps_the_variance_of_data_from_10_steps_on(schedule, std, steps):
    assert 0.85 < widening(process(schedule), functools.partial(dpmpp_2m, steps=steps), std) < 1.1


def test_heun_on_levels_even_in_time_leaves_noise_alone():
    sampler = functools.partial(heun, steps=10, spacing="time")
    assert widening(process("cosine"), sampler) == pytest.approx(219, abs=0.5)
    assert widening(GaussianDiffusion(linear(1000)), sampler) == pytest.approx(1.18, abs=0.01)
