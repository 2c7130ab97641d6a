import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.diffusion.process import GaussianDiffusion, posterior
from gensweep.diffusion.schedules import SCHEDULES, cosine, linear


@pytest.fixture
def process():
    return GaussianDiffusion(linear(1000))


def coefficients(process, t):
    """c1, c2 and the variance of q(x_{t-1} | x_t, x_0) = N(c1 x_0 + c2 x_t, variance), for scaled images."""
    before = process.alpha_bar[t - 1] if t else torch.ones((), dtype=torch.float64)
    step = posterior(process.sigma[t], process.sigma[t - 1] if t else torch.zeros((), dtype=torch.float64))
    return (1 - step.keep) * before.sqrt(), step.keep * (before / process.alpha_bar[t]).sqrt(), step.small * before


def test_posterior_has_the_published_numbers(process):
    c1, c2, _ = (float(each) for each in coefficients(process, 499))
    assert c1 == pytest.approx(3.0700711e-3, rel=1e-7)
    assert c2 == pytest.approx(0.99410667, rel=1e-8)
    assert c1 == pytest.approx(float(process.posterior_x0[499]), rel=1e-12)
    assert float(coefficients(process, 1)[2]) == pytest.approx(5.45318766e-5, rel=1e-8)
    assert [float(each) for each in coefficients(process, 0)] == [1, 0, 0]
    assert float(process.posterior_log_variance[0]) == pytest.approx(-9.81672514, rel=1e-8)
    assert float(process.posterior_log_variance[0]) == float(process.posterior_log_variance[1])


@pytest.mark.parametrize("t", [1, 30, 60, 98])
def test_posterior_equals_the_product_of_two_gaussians(t):
    # q(x_{t-1} | x_t, x_0) is proportional to q(x_t | x_{t-1}) q(x_{t-1} | x_0): precisions add up.
    process = GaussianDiffusion(cosine(100))
    before = process.alpha_bar[t - 1]
    beta = 1 - process.alpha_bar[t] / before
    precision = (1 - beta) / beta + 1 / (1 - before)
    c1, c2, variance = coefficients(process, t)
    torch.testing.assert_close(c1, before.sqrt() / (1 - before) / precision)
    torch.testing.assert_close(c2, (1 - beta).sqrt() / beta / precision)
    torch.testing.assert_close(variance, 1 / precision)
    torch.testing.assert_close(process.posterior_log_variance[t], -precision.log())
    torch.testing.assert_close(posterior(process.sigma[t], process.sigma[t - 1]).large * before, beta)
    torch.testing.assert_close(process.log_beta[t], beta.log())


@pytest.mark.parametrize("kind", SCHEDULES.kinds())
@pytest.mark.parametrize("timesteps", [1, 2, 10, 1000])
def test_tables_are_finite_for_every_schedule(kind, timesteps):
    process = GaussianDiffusion(SCHEDULES[kind](timesteps))
    tables = {name: table for name, table in vars(process).items() if isinstance(table, torch.Tensor)}
    for name, table in tables.items():
        assert table.dtype == torch.float64, name
        assert torch.isfinite(table).all(), name


@given(timesteps=st.integers(1, 4000))
def test_networks_see_times_from_0_to_below_1000(timesteps):
    process = GaussianDiffusion(linear(timesteps))
    time = process.network_time(process.sigma_at(torch.tensor([0, timesteps - 1])))
    assert float(time[0]) == 0
    assert float(time[1]) == pytest.approx(1000 * (timesteps - 1) / timesteps)
    assert float(time[1]) < 1000


@given(timesteps=st.integers(1, 1200), share=st.floats(0, 1))
def test_respacing_is_even_and_keeps_the_noise_levels(timesteps, share):
    process, steps = GaussianDiffusion(linear(timesteps)), max(1, round(share * timesteps))
    times = process.respaced(steps)
    assert len(times) == steps
    assert int(times[-1]) == timesteps - 1
    assert process.sigmas(steps) == [*process.sigma[times].flip(0).tolist(), 0.0]
    if steps > 1:
        assert int(times[0]) == 0
        assert int(times.diff().min()) >= 1
        assert int(times.diff().max() - times.diff().min()) <= 1
