import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.diffusion.schedules import SCHEDULES, cosine, linear, sigmoid

every_schedule = pytest.mark.parametrize("kind", SCHEDULES.kinds())


def betas(alpha_bar):
    return 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])


#: Ranges of the settings of each kind; a kind that is not listed has its defaults.
SETTINGS = {
    "linear": {"beta_start": st.floats(1e-6, 0.1), "beta_end": st.floats(1e-6, 0.1)},
    "cosine": {"s": st.floats(0, 1)},
    "sigmoid": {"start": st.floats(-6, 0), "end": st.floats(0.1, 6), "tau": st.floats(0.3, 3)},
    "karras": {"sigma_min": st.floats(1e-4, 1), "sigma_max": st.floats(1.01, 1000)},
}


@every_schedule
@given(timesteps=st.integers(1, 4000), data=st.data())
def test_alpha_bar_falls_inside_the_unit_interval(kind, timesteps, data):
    settings = {} if data.draw(st.booleans()) else data.draw(st.fixed_dictionaries(SETTINGS.get(kind, {})))
    alpha_bar = SCHEDULES[kind](timesteps, **settings)
    assert alpha_bar.dtype == torch.float64
    assert alpha_bar.shape == (timesteps,)
    assert bool(((alpha_bar > 0) & (alpha_bar < 1)).all())
    assert bool((alpha_bar.diff() < 0).all())


@every_schedule
@pytest.mark.parametrize("timesteps", [1, 2, 3, 5, 10, 19, 20, 21, 22, 50, 300, 1000, 4000])
def test_the_chain_ends_in_noise_for_every_number_of_timesteps(kind, timesteps):
    assert float(SCHEDULES[kind](timesteps)[-1]) <= 1.001e-3


@every_schedule
@pytest.mark.parametrize("timesteps", [4, 8, 12, 20, 40, 100, 500, 2000])
def test_the_shape_is_kept_when_the_number_of_timesteps_changes(kind, timesteps):
    fine, coarse = SCHEDULES[kind](4000), SCHEDULES[kind](timesteps)
    # `karras` has both its ends among the timesteps, as in the paper; the others begin one step from the image.
    first = 0 if kind == "karras" else 4000 // timesteps - 1
    same_times = fine[torch.linspace(first, 3999, timesteps).round().long()]
    # An error of first order in the step is left to schedules that are given by their betas.
    assert float((coarse - same_times).abs().max()) < 0.02 + 2.0 / timesteps * (timesteps > 20)


def test_linear_has_the_published_numbers():
    alpha_bar = linear(1000)
    torch.testing.assert_close(
        alpha_bar[[0, 249, 499, 749, 999]],
        torch.tensor([0.9999, 0.524085374, 0.0785872429, 0.00335055, 4.03582977e-5], dtype=torch.float64),
        rtol=1e-6,
        atol=0,
    )
    torch.testing.assert_close(betas(alpha_bar), torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))


@given(timesteps=st.integers(100, 4000), beta_end=st.floats(0.01, 0.05))
def test_linear_is_the_chain_of_scaled_betas_from_100_timesteps(timesteps, beta_end):
    scale = 1000 / timesteps
    scaled = torch.linspace(scale * 1e-4, scale * beta_end, timesteps, dtype=torch.float64)
    assert torch.equal(linear(timesteps, beta_end=beta_end), torch.cumprod(1 - scaled, dim=0))


@given(timesteps=st.integers(1, 300), beta_end=st.floats(0.01, 0.1))
def test_linear_has_no_jump_whatever_its_end_point(timesteps, beta_end):
    """An integral of beta of up to 50 leaves nothing of the image, and small changes of it are large ones of that.

    With T timesteps log alpha_bar is that integral and, of the squares of betas up to 0.5, at most 0.26 of it over T.
    """
    fewer, more = (math.log(float(linear(count, beta_end=beta_end)[-1])) for count in (timesteps, timesteps + 1))
    assert 0 <= more - fewer < 0.3 / max(timesteps, 100) * -more


def test_cosine_has_the_published_numbers():
    alpha_bar = cosine(1000)
    torch.testing.assert_close(
        betas(alpha_bar)[[0, 499, 999]],
        torch.tensor([4.12842e-5, 3.14589e-3, 0.999], dtype=torch.float64),
        rtol=2e-6,
        atol=0,
    )
    torch.testing.assert_close(
        alpha_bar[[249, 499, 749, 999]],
        torch.tensor([0.847012, 0.493843590, 0.144272, 2.42877e-9], dtype=torch.float64),
        rtol=3e-6,
        atol=0,
    )
    assert int((betas(alpha_bar) > 0.998).sum()) == 1


def test_cosine_equals_the_paper_before_the_clip():
    def f(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = torch.tensor([f((t + 1) / 1000) / f(0) for t in range(999)], dtype=torch.float64)
    torch.testing.assert_close(cosine(1000)[:-1], expected, rtol=1e-9, atol=0)


def test_sigmoid_has_the_published_numbers():
    alpha_bar = sigmoid(1000)
    assert float(betas(alpha_bar)[0]) == pytest.approx(3.00279e-4, rel=2e-6)
    assert float(alpha_bar[499]) == pytest.approx(0.5, abs=1e-12)
    assert float(alpha_bar[249]) == pytest.approx(0.850854, rel=1e-6)
