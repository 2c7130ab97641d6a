"""Editing against Gaussian data, whose ideal denoiser and exact solutions are known in closed form."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.samplers.methods import ancestral, ddim
from gensweep.diffusion.samplers.sampler import SAMPLERS, START_STREAM, from_noise
from gensweep.diffusion.schedules import SCHEDULES, karras, linear
from gensweep.diffusion.sdedit import Below, edit, level_at
from gensweep.errors import ConfigError
from gensweep.extras.editing.interpolation import (
    decode,
    deterministic_levels,
    encode,
    encoding_levels,
    slerp,
)
from gensweep.noise import Noise

MEAN, STD = 0.3, 0.4
#: Of convergence; what is not listed is taken to be of the first.
ORDER = {"heun": 2, "straight_heun": 2, "dpmpp_2m": 2}

every_sampler = pytest.mark.parametrize("kind", SAMPLERS.kinds())


def ideal(x, sigma, *_):
    """E[x_0 | x] for images whose pixels are N(MEAN, STD^2)."""
    return MEAN + STD**2 * (x - MEAN) / (STD**2 + sigma**2)


def noise(n, start=0):
    return Noise(11, torch.arange(start, start + n))


def is_deterministic(kind):
    try:
        deterministic_levels(GaussianDiffusion(linear(5)), SAMPLERS[kind])
    except ConfigError:
        return False
    return True


deterministic = pytest.mark.parametrize("kind", [kind for kind in SAMPLERS if is_deterministic(kind)])


@every_sampler
@pytest.mark.parametrize("strength", [0.2, 0.5, 0.8])
def test_edited_images_have_the_moments_of_theory(kind, strength):
    process, image = GaussianDiffusion(linear(400)), torch.full((1, 16, 16), -0.5)
    sigma = level_at(process, strength)
    x = edit(process, SAMPLERS[kind], ideal, noise(300), image, strength=strength)
    # The flow stretches x - MEAN by STD / sqrt(STD^2 + sigma^2); the posterior shrinks it by the square of that.
    variance = STD**2 * sigma**2 / (STD**2 + sigma**2)
    left = STD / math.sqrt(STD**2 + sigma**2)
    if not is_deterministic(kind):
        left = left**2
        variance += (left * sigma) ** 2
    assert float(x.mean()) == pytest.approx(MEAN + left * (-0.5 - MEAN), abs=0.01)
    assert float(x.std()) == pytest.approx(math.sqrt(variance), rel=0.04)


@every_sampler
def test_strength_0_is_the_image_itself(kind):
    image = torch.rand(3, 8, 8) * 2 - 1
    x = edit(GaussianDiffusion(linear(20)), SAMPLERS[kind], ideal, noise(2), image, strength=0.0)
    assert torch.equal(x, image.expand(2, 3, 8, 8))


@every_sampler
@pytest.mark.parametrize("schedule", SCHEDULES.kinds())
@pytest.mark.parametrize("steps", [7, None])
def test_strength_1_is_plain_sampling(kind, schedule, steps):
    process, n, image = GaussianDiffusion(SCHEDULES[schedule](30)), noise(3), torch.ones(1, 8, 8)
    plain = SAMPLERS[kind](process, ideal, from_noise(n.normal(1, 8, 8, stream=START_STREAM)), n, steps=steps)

    def sampler(*arguments):
        return SAMPLERS[kind](*arguments, steps=steps)

    assert torch.equal(edit(process, sampler, ideal, n, image, strength=1.0), plain)


@every_sampler
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_known_pixels_come_out_as_they_went_in(kind, strength):
    process, image = GaussianDiffusion(linear(30)), torch.rand(3, 8, 8) * 2 - 1
    redraw = torch.rand(8, 8) < 0.4
    x = edit(process, SAMPLERS[kind], ideal, noise(4), image, strength=strength, redraw=redraw)
    assert torch.equal(x[..., ~redraw], image[..., ~redraw].expand(4, -1, -1))
    assert float((x[..., redraw] - image[..., redraw]).abs().min()) > 0
    assert not torch.equal(x[0], x[1])


RHO, KNOWN = 0.9, 0.6
COVARIANCE = STD**2 * torch.tensor([[1, RHO], [RHO, 1]], dtype=torch.float64)


def ideal_pair(x, sigma, *_):
    """E[x_0 | x] for images of two pixels with mean 0 and a correlation of RHO."""
    gain = COVARIANCE @ torch.linalg.inv(COVARIANCE + sigma**2 * torch.eye(2, dtype=torch.float64))
    return x @ gain.T.to(x.dtype)


def paint_the_left_of_two(kind, process):
    image, redraw = torch.tensor([[[0.0, KNOWN]]]), torch.tensor([[True, False]])
    return edit(process, SAMPLERS[kind], ideal_pair, noise(20_000), image, strength=1.0, redraw=redraw)[:, 0, 0, 0]


@deterministic
def test_pull_of_known_pixels_is_that_of_the_flow(kind):
    process = GaussianDiffusion(karras(200))
    high, low = float(process.sigma[-1]), float(process.sigma[0])

    def slope(log_sigma, mean):
        seen = ideal_pair(torch.tensor([[mean[0], KNOWN]], dtype=torch.float64), math.exp(log_sigma))
        return mean - seen[0, 0].item()

    flow = solve_ivp(slope, (math.log(high), math.log(low)), [0.0], rtol=1e-8, atol=1e-10)
    assert float(paint_the_left_of_two(kind, process).mean()) == pytest.approx(flow.y[0, -1], abs=0.02)


@pytest.mark.parametrize("steps", [1, 5, None])
@pytest.mark.parametrize("strength", [0.01, 0.3, 0.77, 1.0])
def test_levels_begin_at_that_of_the_strength_and_fall_to_0(steps, strength):
    process = GaussianDiffusion(linear(100))
    top = level_at(process, strength)
    assert top == float(process.sigma[round(100 * strength) - 1])
    sigmas = Below(process, top).sigmas(steps)
    assert sigmas[0] == top
    assert sigmas[-1] == 0
    assert sorted(set(sigmas), reverse=True) == sigmas
    assert set(sigmas[1:]) <= set(process.sigmas(steps))
    assert len(sigmas) - 1 == max(1, round(100 * strength)) if steps is None else len(sigmas) - 1 <= steps


@deterministic
def test_images_come_back_better_with_more_steps(kind):
    process, image = GaussianDiffusion(karras(1000)), torch.rand(2, 1, 8, 8, dtype=torch.float64) * 2 - 1
    errors = []
    for steps in (20, 40, 80, 160):

        def sampler(*arguments, steps=steps):
            return SAMPLERS[kind](*arguments, steps=steps)

        codes = encode(deterministic_levels(process, sampler), ideal, image)
        errors.append(float((decode(process, sampler, ideal, codes) - image).abs().max()))
    assert errors[-1] < 0.05
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine > 2 ** ORDER.get(kind, 1) * 0.8


@deterministic
@pytest.mark.parametrize("steps", [1, 2, 5, 30])
@pytest.mark.parametrize("schedule", SCHEDULES.kinds())
def test_encoding_is_exact_for_few_sampler_steps(kind, steps, schedule):
    process, image = GaussianDiffusion(SCHEDULES[schedule](1000)), torch.rand(2, 1, 8, 8, dtype=torch.float64) * 2 - 1

    def sampler(*arguments):
        return SAMPLERS[kind](*arguments, steps=steps)

    sigmas = encoding_levels(process, sampler)
    assert sigmas[0] == pytest.approx(deterministic_levels(process, sampler)[0], rel=1e-12)
    exact = MEAN + (image - MEAN) * math.sqrt(STD**2 + sigmas[0] ** 2) / STD
    assert float((encode(sigmas, ideal, image) / exact - 1).abs().max()) < 0.01


@pytest.mark.parametrize("sampler", [ancestral, lambda *a: ddim(*a, eta=0.5)])
def test_a_sampler_that_draws_noise_cannot_go_back_and_forth(sampler):
    process = GaussianDiffusion(linear(5))
    with pytest.raises(ConfigError, match=r"deterministic.* set sampler\.kind to euler or dpmpp_2m") as error:
        deterministic_levels(process, sampler)
    assert len(error.value.problems) == 1
    with pytest.raises(ConfigError, match="deterministic"):
        decode(process, sampler, lambda x, _: x, torch.zeros(1, 1, 8, 8))


@given(st.integers(0, 1000), st.floats(0, 1))
def test_mixed_noise_is_as_long_as_noise(seed, t):
    a, b = torch.nn.functional.normalize(Noise(seed, torch.arange(2)).normal(48, stream=0).double()).view(2, 3, 4, 4)
    mixed = slerp(a, b, torch.tensor([0, t, 1], dtype=torch.float64))
    torch.testing.assert_close(mixed[0], a)
    torch.testing.assert_close(mixed[2], b)
    assert float(mixed[1].norm()) == pytest.approx(1, abs=1e-9)
    # Great circles are walked at a constant pace.
    angles = [math.acos(min(1, float((mixed[1] * end).sum()))) for end in (a, b)]
    whole = math.acos(float((a * b).sum()))
    assert angles == pytest.approx([t * whole, (1 - t) * whole], abs=1e-6)
