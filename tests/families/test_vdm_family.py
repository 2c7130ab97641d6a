"""The family of variational diffusion models: what its network sees, and its bound against closed forms."""

import math

import pytest
import torch
from tiny import SIZE, batch, build

from gensweep.diffusion.gamma import GAMMAS, schedule_of
from gensweep.diffusion.levels import draw_times
from gensweep.diffusion.parameterisations import PARAMETERISATIONS
from gensweep.diffusion.samplers.sampler import SAMPLERS
from gensweep.diffusion.variational import DiffusionTerm
from gensweep.families.denoising import TRAINING_NOISE_STREAM
from gensweep.families.family import BoundPoints
from gensweep.families.vdm import VariationalNetwork, with_fourier_features
from gensweep.noise import Noise
from gensweep.registry import keywords

STD = 0.25


class Ideal(torch.nn.Module):
    """Predicts E[eps | z] for data N(0, STD^2), from the level that the time stands for."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule
        self.calls = []

    def forward(self, x, time, labels):
        self.calls.append((x, time, labels))
        low, high = self.schedule.ends.low, self.schedule.ends.high
        gamma = (low + time.double() / 1000 * (high - low)).view(-1, 1, 1, 1)
        noise = torch.sigmoid(gamma)
        return (noise.sqrt() * x / ((1 - noise) * STD**2 + noise)).float()


def linear(**settings):
    """A family with a fixed line, and a network that knows its data."""
    vdm = {"schedule": {"kind": "linear", "gamma_min": -8.0}} | settings
    family = build("vdm", vdm=vdm)
    return family, Ideal(schedule_of(family.networks["denoiser"]))


def data(n):
    """Gaussian images at 256 levels."""
    noise = Noise(5, torch.arange(n))
    x = STD * noise.normal(1, SIZE, SIZE, stream=50)
    images = ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
    return batch(n)._replace(images=images, noise=noise)


def entropy():
    """Of the levels of such data, in bits."""
    return math.log2(STD * math.sqrt(2 * math.pi * math.e) * 127.5)


@pytest.mark.parametrize("timesteps", [None, 1000])
def test_training_and_evaluation_agree_on_the_bound_of_gaussian_data(timesteps):
    family, network = linear(timesteps=timesteps)
    some = data(400)
    (loss,) = family.losses({"denoiser": network}, some)
    with torch.no_grad():
        bits = family.bits_per_dim(network, some.images, None, some.noise, BoundPoints(20, 1))
    assert bits.dtype == torch.float64
    assert bits.shape == (400,)
    assert float(loss.value) == pytest.approx(float(bits.mean()), rel=0.01)
    assert float(bits.mean()) == pytest.approx(entropy(), abs=0.1)
    assert float(bits.mean()) > entropy() - 0.02


@pytest.mark.parametrize("kind", PARAMETERISATIONS.kinds())
def test_the_loss_of_a_zero_network_follows_its_parameterisation(kind):
    """With `eps` it costs the power of the noise, whatever the image; the others say skip x instead."""
    family, some = build("vdm", vdm={"parameterisation": {"kind": kind}}), data(6)
    schedule = schedule_of(family.networks["denoiser"])
    (loss,) = family.losses(family.networks, some)
    step = DiffusionTerm.at(schedule, draw_times(some.noise, 6, "antithetic"))
    eps, sigma = some.noise.normal(1, SIZE, SIZE, stream=TRAINING_NOISE_STREAM), step.sigma.view(-1, 1, 1, 1)
    x = some.images + sigma * eps
    guess = PARAMETERISATIONS[kind](step.sigma).skip * x
    error = ((some.images - guess) / sigma).square().mean(dim=(1, 2, 3))
    assert float(loss.value.detach()) == pytest.approx(float(step.bits(error).mean().detach()), rel=0.01)


def test_the_network_sees_unit_variance_fine_scales_and_a_time_below_1000():
    family, seen = build("vdm"), []

    class Recorder(torch.nn.Module):
        def forward(self, x, time, labels):
            seen.append((x, time))
            return torch.zeros_like(x[:, :1])

    inner = family.networks["denoiser"]
    some = data(200)
    network = VariationalNetwork(Recorder(), inner.exponents, inner.schedule)
    list(family.losses({"denoiser": network}, some))
    x, time = (each.detach() for each in seen[0])
    assert x.shape == (200, 5, SIZE, SIZE)
    assert time.dtype == torch.float32
    assert 0 <= float(time.min()) < 50
    assert 950 < float(time.max()) < 1000
    noisiest = x[time.argsort()[-20:], 0]
    assert float(noisiest.std()) == pytest.approx(1, abs=0.05)


def test_gradients_reach_every_part_of_the_schedule():
    for kind in GAMMAS:
        for timesteps in (None, 10):
            family = build("vdm", vdm={"schedule": {"kind": kind}, "timesteps": timesteps})
            (loss,) = family.losses(family.networks, batch())
            loss.value.backward()
            for parameter in schedule_of(family.networks["denoiser"]).parameters():
                assert parameter.grad is not None
                assert torch.isfinite(parameter.grad).all()
                assert parameter.grad.abs().sum() > 0


@pytest.mark.trains
@pytest.mark.parametrize("timesteps", [None, 200])
@pytest.mark.parametrize("kind", SAMPLERS.kinds())
def test_every_sampler_draws_gaussian_data_from_the_ideal_network(kind, timesteps):
    family, network = linear(timesteps=timesteps)
    steps = {"steps": 200} if "steps" in keywords(SAMPLERS[kind]) else {"tolerance": 1e-4}
    family.sampler = lambda *args: SAMPLERS[kind](*args, **steps)
    images = family.sample(network, Noise(5, torch.arange(300)), None)
    assert float(images.mean()) == pytest.approx(0, abs=0.01)
    assert float(images.std()) == pytest.approx(STD, rel=0.05)


@pytest.mark.parametrize("exponents", [(), (0,), (7, 8)])
def test_fourier_features_are_those_of_the_formula(exponents):
    x = torch.rand(2, 3, 4, 4) * 2 - 1
    out = with_fourier_features(x, exponents)
    assert out.shape[1] == 3 + 6 * len(exponents)
    assert torch.equal(out[:, :3], x)
    for place, n in enumerate(exponents):
        for half, wave in enumerate((math.sin, math.cos)):
            first = 3 + 6 * place + 3 * half
            expected = torch.tensor([wave(2**n * math.pi * v) for v in x.double().flatten().tolist()]).view(x.shape)
            torch.testing.assert_close(out[:, first : first + 3], expected, rtol=0, atol=1e-4)


def test_phases_stay_exact_in_low_precision():
    x = torch.rand(1, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(with_fourier_features(x, (8,)), with_fourier_features(x.float(), (8,)))
    assert with_fourier_features(x.bfloat16(), (8,)).dtype == torch.float32
