"""The straight path against closed forms: between Gaussians the velocity, its flow and its likelihood are known."""

import math
from itertools import pairwise, permutations

import pytest
import torch

from gensweep.diffusion.likelihood import DEQUANTISATION_STREAM, HALF_PIXEL_STEP, flow_bits, with_trace
from gensweep.diffusion.samplers.methods import euler, straight_heun
from gensweep.diffusion.samplers.sampler import from_noise
from gensweep.diffusion.straight_path import (
    HIGHEST_TIME,
    PAIRINGS,
    PATH_TIMES,
    OptimalTransport,
    StraightPath,
    logit_normal,
    network_time,
)
from gensweep.noise import Noise

MEAN, STD = 0.3, 0.4


def exact_velocity(z, t):
    """E[eps - x_0 | z] for images N(MEAN, STD^2): the slope of the mean, and of the deviation relative to itself."""
    t = t.view(-1, 1, 1, 1)
    variance = (1 - t) ** 2 * STD**2 + t**2
    return -MEAN + (t - (1 - t) * STD**2) / variance * (z - (1 - t) * MEAN)


def exact_flow(eps, t):
    """Where noise is at a time."""
    return (1 - t) * MEAN + math.sqrt((1 - t) ** 2 * STD**2 + t**2) * eps


def ideal(x, sigma, *_):
    """The same as a denoiser."""
    return MEAN + STD**2 * (x - MEAN) / (STD**2 + sigma**2)


def noise(n):
    return Noise(11, torch.arange(n))


def normal(n, size=8):
    return noise(n).normal(1, size, size, stream=3).double()


def test_heun_along_the_path_is_heuns_method():
    process, eps, steps = StraightPath(), normal(2), 5
    z = eps * math.sqrt(HIGHEST_TIME**2 + (1 - HIGHEST_TIME) ** 2)
    times = [HIGHEST_TIME * (1 - i / steps) for i in range(steps + 1)]

    def slope(z, t):
        return exact_velocity(z, torch.full((2,), t, dtype=torch.float64))

    for now, after in pairwise(times):
        ahead = z + (after - now) * slope(z, now)
        z = z + (after - now) / 2 * (slope(z, now) + slope(ahead, after)) if after else ahead
    torch.testing.assert_close(straight_heun(process, ideal, from_noise(eps), noise(2), steps=steps), z)


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (straight_heun, 2)])
def test_samplers_converge_to_the_flow_of_gaussians_with_their_order(sampler, order):
    process, eps = StraightPath(), normal(2)
    start = exact_flow(eps, HIGHEST_TIME) / (1 - HIGHEST_TIME)
    errors = [
        float((sampler(process, ideal, lambda _: start, noise(2), steps=steps) - exact_flow(eps, 0)).abs().max())
        for steps in (50, 100, 200, 400)
    ]
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([order] * 3, abs=0.15)


@pytest.mark.parametrize("kind", PATH_TIMES.kinds())
def test_times_lie_between_image_and_noise_and_rise_with_the_number(kind):
    u = (torch.arange(1000).double() + 0.5) / 1000
    t = PATH_TIMES[kind](u)
    assert t.dtype == torch.float64
    assert (t > 0).all()
    assert (t < 1).all()
    assert (t.diff() > 0).all()


def test_logit_normal_times_have_the_density_of_the_paper():
    """Esser et al. 2024, eq. 19: exp(-(logit t - m)^2 / (2 s^2)) / (s sqrt(2 pi) t (1 - t))."""
    u = torch.linspace(0.01, 0.99, 4001, dtype=torch.float64)
    t = logit_normal(u, mean=-0.5, std=0.7)
    middle = (t[1:] + t[:-1]) / 2
    density = (-((middle.logit() + 0.5) ** 2) / (2 * 0.7**2)).exp() / (0.7 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(u.diff() / t.diff(), density / (middle * (1 - middle)), rtol=1e-5, atol=0)


def test_the_time_of_a_network_is_that_of_the_path():
    t = torch.tensor([0.0, 0.25, HIGHEST_TIME, 1.0])
    assert network_time(t).tolist() == pytest.approx([0, 250, 999.9, 1000], rel=1e-6)
    assert float(network_time(t).max()) < 1000
    torch.testing.assert_close(StraightPath().network_time(t[:3] / (1 - t[:3])), network_time(t[:3]), rtol=1e-4, atol=0)


def cost(images, eps):
    return float((images - eps).double().square().sum())


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 0, 2, 1, 0, 1])], ids=["one class", "labels"])
def test_assignment_is_the_best_of_all(labels):
    draw = Noise(3, torch.arange(7))
    images, eps = draw.normal(1, 2, 2, stream=0), draw.normal(1, 2, 2, stream=1)
    order = OptimalTransport()(images, eps, labels)
    assert sorted(order.tolist()) == [*range(7)]
    labels = torch.zeros(7) if labels is None else labels
    assert torch.equal(labels[order], labels)
    for label in labels.unique():
        (members,) = (labels == label).nonzero(as_tuple=True)
        best = min(cost(images[members], eps[list(each)]) for each in permutations(members.tolist()))
        assert cost(images[members], eps[order[members]]) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("kind", PAIRINGS.kinds())
def test_every_pairing_takes_each_noise_once(kind):
    draw = noise(5)
    order = PAIRINGS[kind]()(draw.normal(1, 4, 4, stream=0), draw.normal(1, 4, 4, stream=1), torch.arange(5) % 2)
    assert sorted(order.tolist()) == [*range(5)]


def gaussian_bits(x):
    """-log2 of the density of N(MEAN, STD^2) per value, times the width of a level."""
    nats = ((x.double() - MEAN) / STD).square() / 2 + math.log(STD * math.sqrt(2 * math.pi))
    return nats.mean(dim=(1, 2, 3)) / math.log(2) - math.log2(2 / 255)


def test_the_likelihood_of_gaussians_has_second_order_error():
    n = noise(20)
    images = MEAN + STD * normal(20)
    moved = images + HALF_PIXEL_STEP * (2 * n.uniform(1, 8, 8, stream=DEQUANTISATION_STREAM) - 1)
    errors = [
        float((flow_bits(exact_velocity, images, n, points=points) - gaussian_bits(moved)).abs().max())
        for points in (20, 40, 80, 160)
    ]
    assert errors[0] < 0.02
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2] * 3, abs=0.4)


def test_the_estimate_of_a_trace_has_no_bias():
    """Of a linear field whose matrix is not diagonal, so that probes do differ."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(16, 16, generator=generator, dtype=torch.float64)
    n = 4000
    probe = 1 - 2 * (noise(n).uniform(1, 4, 4, stream=0) < 0.5).double()

    def field(z, t):
        return (z.flatten(1) @ matrix.T).view_as(z)

    z = normal(n, 4)
    slope, trace = with_trace(field, z, torch.zeros(n), probe)
    torch.testing.assert_close(slope, field(z, None))
    deviation = float(trace.std()) / math.sqrt(n)
    assert float(trace.mean()) == pytest.approx(float(matrix.trace()), abs=4 * deviation)
    symmetric = (matrix + matrix.T).fill_diagonal_(0) / 2
    assert float(trace.var()) == pytest.approx(2 * float(symmetric.square().sum()), rel=0.1)
