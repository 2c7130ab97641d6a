"""Flow matching as a family, against closed forms and against what no split of a batch may change."""

import math

import pytest
import torch
from tiny import CLASSES, SIZE, batch, build, images

from gensweep.config.models import bind, item_model
from gensweep.data.loader import Loader
from gensweep.diffusion.levels import draw_times
from gensweep.diffusion.samplers.sampler import SAMPLERS, START_STREAM
from gensweep.families.denoising import TRAINING_NOISE_STREAM
from gensweep.families.family import Batch, BoundPoints
from gensweep.noise import Noise

MEAN, STD = 0.1, 0.2


class Exact(torch.nn.Module):
    """The velocity of the straight path for images N(MEAN, STD^2), from the network's time."""

    def forward(self, x, time, labels):
        t = time.view(-1, 1, 1, 1) / 1000
        variance = (1 - t) ** 2 * STD**2 + t**2
        return -MEAN + (t - (1 - t) * STD**2) / variance * (x - (1 - t) * MEAN)


class Recorder(torch.nn.Module):
    """A denoiser that knows nothing and remembers what it was asked."""

    def forward(self, x, time, labels):
        self.seen = x, time, labels
        return torch.zeros_like(x)


PLAIN = {"times": {"kind": "uniform"}}


def test_the_network_sees_the_path_and_learns_its_velocity():
    family, network, data = build("flow", flow=PLAIN), Recorder(), batch(200)
    (loss,) = family.losses({"denoiser": network}, data)
    x, time, labels = network.seen
    t = draw_times(data.noise, 200, "independent").float()
    eps = data.noise.normal(1, SIZE, SIZE, stream=TRAINING_NOISE_STREAM)
    torch.testing.assert_close(time, 1000 * t)
    torch.testing.assert_close(x, (1 - t.view(-1, 1, 1, 1)) * data.images + t.view(-1, 1, 1, 1) * eps)
    torch.testing.assert_close(loss.value, (eps - data.images).square().mean())
    assert labels is None


@pytest.mark.parametrize("conditional", [False, True])
def test_a_batch_is_paired_as_a_whole_whichever_part_of_it_a_worker_has(conditional):
    flow = {"pairing": {"kind": "optimal_transport"}}
    family, loader = build("flow", conditional, flow=flow), Loader(images(), seed=3)

    def paired(first, last):
        part = loader.batch(16, 8)
        share = [each[first:last] for each in part]
        noise = Noise(3, share[2])
        return family._paired_noise(Batch(share[0], share[1], noise, 8, 2, lambda: part))

    whole = paired(0, 8)
    assert torch.equal(torch.cat([paired(0, 3), paired(3, 4), paired(4, 8)]), whole)
    part = loader.batch(16, 8)
    own = Noise(3, part.positions).normal(1, SIZE, SIZE, stream=TRAINING_NOISE_STREAM)
    assert (whole - part.images).square().sum() < (own - part.images).square().sum()
    chosen = [int((own == eps).flatten(1).all(dim=1).nonzero()) for eps in whole]
    assert sorted(chosen) == [*range(8)]
    assert torch.equal(part.labels[chosen], part.labels) or not conditional


def exact(sampler, **settings):
    family = build("flow", flow=PLAIN, sampler={"kind": "euler"}, **settings)
    family.sampler = bind(item_model(SAMPLERS, sampler["kind"]).model_validate(sampler))
    return family


@pytest.mark.parametrize(
    ("sampler", "tolerance"),
    [
        ({"kind": "euler", "steps": 500}, 4e-3),
        ({"kind": "ddim", "steps": 500}, 4e-3),
        ({"kind": "dpmpp_2m", "steps": 50, "spacing": "log_snr"}, 3e-3),
        ({"kind": "straight_heun", "steps": 50}, 3e-3),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_deterministic_samplers_follow_the_flow_of_the_noise(sampler, tolerance):
    noise = Noise(5, torch.arange(4))
    eps = noise.normal(1, SIZE, SIZE, stream=START_STREAM)
    drawn = exact(sampler).sample(Exact(), noise, None)
    torch.testing.assert_close(drawn, (MEAN + STD * eps).clamp(-1, 1), rtol=0, atol=tolerance)


def test_ancestral_sampling_draws_gaussian_images_too():
    noise = Noise(5, torch.arange(200))
    drawn = exact({"kind": "ancestral", "steps": 200}).sample(Exact(), noise, None)
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(drawn.std()) == pytest.approx(STD, rel=0.03)


def test_the_likelihood_is_that_of_the_gaussian_and_takes_no_guidance():
    noise = Noise(5, torch.arange(300))
    images = ((MEAN + STD * noise.normal(1, SIZE, SIZE, stream=50) + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
    found = exact({"kind": "euler"}).bits_per_dim(Exact(), images, None, noise, BoundPoints(60, 1))
    entropy = math.log2(STD * math.sqrt(2 * math.pi * math.e) * 127.5)
    error = float(found.std()) / math.sqrt(300)
    assert error < 0.01
    assert float(found.mean()) == pytest.approx(entropy, abs=4 * error)
    labels = torch.arange(4) % CLASSES
    plain, guided = (build("flow", True, guidance=scale) for scale in (1.0, 4.0))
    network = plain.networks["denoiser"].eval()
    a, b = (
        each.bits_per_dim(network, images[:4], labels, Noise(5, torch.arange(4)), BoundPoints(4, 1))
        for each in (plain, guided)
    )
    assert torch.equal(a, b)
