import pytest
import torch

from gensweep.diffusion.losses import eps_loss
from gensweep.diffusion.process import GaussianDiffusion
from gensweep.diffusion.schedules import linear


@pytest.fixture
def process():
    return GaussianDiffusion(linear(100))


def batch():
    return torch.rand(4, 3, 6, 6) * 2 - 1, torch.tensor([0, 3, 50, 99]), torch.randn(4, 3, 6, 6)


def test_the_right_noise_costs_nothing(process):
    x_0, t, eps = batch()
    assert not eps_loss(process, lambda x, time: eps, x_0, t, eps).any()


def test_it_is_the_mean_squared_error_of_each_image(process):
    x_0, t, eps = batch()
    seen = {}

    def predict(x, time):
        seen["x"], seen["time"] = x, time
        return torch.zeros_like(x)

    torch.testing.assert_close(eps_loss(process, predict, x_0, t, eps), eps.square().mean(dim=(1, 2, 3)))
    torch.testing.assert_close(seen["x"], process.q_sample(x_0, t, eps))
    torch.testing.assert_close(seen["time"], torch.tensor([0.0, 30.0, 500.0, 990.0]))


def test_it_is_computed_in_float32_even_if_the_network_is_not(process):
    x_0, t, eps = batch()
    assert eps_loss(process, lambda x, time: x.bfloat16(), x_0, t, eps).dtype == torch.float32
