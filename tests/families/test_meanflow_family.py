"""MeanFlow as a family, against closed forms of Gaussian images and against flow matching."""

import pytest
import torch
from tiny import CLASSES, SIZE, batch, build

from gensweep.config.models import bind, item_model
from gensweep.diffusion.samplers.sampler import SAMPLERS, START_STREAM
from gensweep.families.meanflow import ERROR_OFFSET
from gensweep.nn.networks import DENOISERS
from gensweep.noise import Noise

MEAN, STD = 0.1, 0.2
DIMENSIONS = SIZE * SIZE
FLOW = {"times": {"kind": "logit_normal"}}


class Exact(torch.nn.Module):
    """The mean velocity of images N(MEAN, STD^2) over an interval, from the network's times, and the velocity."""

    def forward(self, x, time, labels):
        times = time.double() / 1000
        t, length = (times, torch.zeros_like(times)) if times.dim() == 1 else times.unbind(1)
        t, length = t.view(-1, 1, 1, 1), length.view(-1, 1, 1, 1)
        at, r = x.double() - (1 - t) * MEAN, t - length
        variance, reached = (1 - t) ** 2 * STD**2 + t**2, ((1 - r) ** 2 * STD**2 + r**2).sqrt()
        velocity = -MEAN + (t - (1 - t) * STD**2) / variance * at
        mean = (x - (1 - r) * MEAN - reached / variance.sqrt() * at) / length.clamp(min=1e-9)
        return torch.where(length > 0, mean, velocity).to(x.dtype)


class Recorder(torch.nn.Module):
    """A denoiser that knows labels alone: 0.1 for no label, and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, time, labels):
        self.seen.append((x, time, labels, self.training))
        return torch.zeros_like(x) if labels is None else 0.1 * (labels == CLASSES).view(-1, 1, 1, 1) + 0 * x


def recorded(conditional=False, **mean):
    """The family with such a network, and its loss of a batch."""
    family = build("meanflow", conditional, flow=FLOW, meanflow=mean, label_dropout=0.3)
    family.networks["denoiser"] = Recorder()
    (loss,) = family.losses(family.networks, batch(40))
    return family.networks["denoiser"].seen, loss


def drawn(sampler):
    family, noise = build("meanflow"), Noise(5, torch.arange(4))
    family.sampler = bind(item_model(SAMPLERS, sampler["kind"]).model_validate(sampler))
    return family.sample(Exact(), noise, None), noise.normal(1, SIZE, SIZE, stream=START_STREAM)


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
@pytest.mark.parametrize("spacing", ["time", "karras"])
def test_any_number_of_eulers_steps_takes_noise_to_the_image_exactly(steps, spacing):
    images, eps = drawn({"kind": "euler", "steps": steps, "spacing": spacing})
    torch.testing.assert_close(images, (MEAN + STD * eps).clamp(-1, 1), rtol=0, atol=2e-4)


def test_other_samplers_take_the_velocity():
    images, eps = drawn({"kind": "straight_heun", "steps": 50})
    torch.testing.assert_close(images, (MEAN + STD * eps).clamp(-1, 1), rtol=0, atol=3e-3)
    images, eps = drawn({"kind": "ddim", "steps": 1})
    torch.testing.assert_close(images, torch.full_like(images, MEAN), rtol=0, atol=1e-3)


def test_without_intervals_it_is_flow_matching():
    """The same times, noise and errors, but summed over pixels; dropped labels too."""
    family = build("flow", True, flow=FLOW, label_dropout=0.3)
    (expected,) = family.losses({"denoiser": Recorder()}, batch(40))
    seen, loss = recorded(True, share=0.0, power=0.0)
    assert not seen[-1][1][:, 1].any()
    assert float(loss.value) == pytest.approx(DIMENSIONS * float(expected.value), rel=1e-5)
    assert float(loss.signals["velocity_error"]) == pytest.approx(float(expected.value), rel=1e-5)


def test_only_images_with_intervals_are_evaluated_twice():
    seen, _ = recorded(share=0.25)
    assert [(len(x), training) for x, _, _, training in seen] == [(10, False), (10, False), (40, True)]
    time = seen[-1][1]
    assert int((time[:, 1] > 0).sum()) == 10
    assert (time[:, 1] <= time[:, 0]).all()
    for _, asked, _, _ in seen[:2]:
        assert (asked[:, 1] >= 0).all()
        torch.testing.assert_close(asked[:, 0] - asked[:, 1], (time[:, 0] - time[:, 1])[time[:, 1] > 0])


def test_errors_count_by_their_own_size():
    plain, weighted = (recorded(share=0.0, power=power) for power in (0.0, 1.5))
    x, time, _, _ = plain[0][-1]
    error = ((x - batch(40).images) / (time[:, 0].view(-1, 1, 1, 1) / 1000)).square().sum(dim=(1, 2, 3))
    expected = (error * (error + ERROR_OFFSET) ** -1.5).mean()
    assert float(weighted[1].value) == pytest.approx(float(expected), rel=1e-4)


def test_the_velocity_learns_guidance_where_there_is_a_label():
    scale = 3.0
    seen, loss = recorded(True, share=0.0, power=0.0, learnt_guidance=scale)
    x, time, labels, _ = seen[-1]
    without = (labels == CLASSES).view(-1, 1, 1, 1)
    assert 0 < int(without.sum()) < 40
    velocity = (x - batch(40).images) / (time[:, 0].view(-1, 1, 1, 1) / 1000)
    target = torch.where(without, velocity - 0.1, 0.1 + scale * (velocity - 0.1))
    assert float(loss.value) == pytest.approx(DIMENSIONS * float(target.square().mean()), rel=1e-3)


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_every_network_starts_without_knowing_intervals_and_learns_them(kind):
    family = build("meanflow", network={"kind": kind, "width": 8})
    network = family.networks["denoiser"].eval()
    for name, parameter in network.named_parameters():
        if not parameter.any() and "interval" not in name:
            torch.nn.init.normal_(parameter, std=0.1)  # blocks that start as the identity would hide the times
    x, time = batch().images, torch.full((6,), 700.0)

    def at(length):
        return network(x, torch.stack([time, torch.full_like(time, length)], dim=1), None)

    with torch.no_grad():
        torch.testing.assert_close(at(0.0), network(x, time, None))
        torch.testing.assert_close(at(0.0), at(500.0))
    (loss,) = family.losses(family.networks, batch())
    loss.value.backward()
    with torch.no_grad():
        for parameter in network.condition.interval[-1].parameters():
            parameter -= parameter.grad / parameter.grad.norm()
        assert (at(0.0) - at(500.0)).abs().max() > 1e-3
