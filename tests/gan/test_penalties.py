"""Gradient penalties against closed forms, on discriminators whose gradients are known."""

import pytest
import torch

from gensweep.gan.adversarial_losses import PENALTIES, gradient_penalty, r1, r1_r2, relativistic

every_penalty = pytest.mark.parametrize("kind", [kind for kind in PENALTIES if kind != "none"])


def images(n=5):
    return torch.randn(n, 2, 3, 3, generator=torch.Generator().manual_seed(1)).double().requires_grad_()


def linear(x, w):
    """Its gradient is w everywhere."""
    return (x * w).flatten(1).sum(dim=1)


def quadratic(x, a):
    """Its gradient is a x."""
    return 0.5 * a * x.square().flatten(1).sum(dim=1)


def test_r1_of_a_linear_discriminator_has_its_closed_form():
    w, x = torch.randn(2, 3, 3).double().requires_grad_(), images()
    value = r1(weight=3.0, every=1)(linear(x, w), x)
    torch.testing.assert_close(value, 1.5 * w.square().sum())
    value.backward()
    torch.testing.assert_close(w.grad, 3.0 * w.detach())


def test_the_gradient_penalty_is_the_squared_distance_of_norms_to_1():
    w, x = torch.full((2, 3, 3), 0.5).double().requires_grad_(), images()
    norm = 0.5 * 18**0.5
    value = gradient_penalty(weight=10.0)(linear(x, w), x)
    assert float(value.detach()) == pytest.approx(10 * (norm - 1) ** 2)
    value.backward()
    torch.testing.assert_close(w.grad, 20 * (norm - 1) * w.detach() / norm)


def test_a_gradient_of_nothing_has_a_finite_penalty_that_goes_on():
    w, x = torch.zeros(2, 3, 3).double().requires_grad_(), images()
    value = gradient_penalty(weight=10.0)(linear(x, w), x)
    value.backward()
    assert float(value.detach()) == 10
    assert torch.isfinite(w.grad).all()


@every_penalty
def test_a_lazy_penalty_counts_as_much_as_one_in_every_step(kind):
    """Its mean over all steps, those without it included, is that of the penalty in every step."""
    x, w = images(), torch.randn(2, 3, 3).double()
    often, seldom = (PENALTIES[kind](weight=2.0, every=every) for every in (1, 16))
    often, seldom = (float(penalty(linear(x, w), x).detach()) for penalty in (often, seldom))
    assert sum(seldom if step % 16 == 0 else 0.0 for step in range(64)) / 64 == pytest.approx(often)


@every_penalty
def test_a_parameter_without_part_in_the_gradient_gets_one_of_0(kind):
    """As data-parallel training waits for it."""
    bias, x = torch.ones(1).double().requires_grad_(), images()
    PENALTIES[kind]()(quadratic(x, 1.0) + bias, x).backward()
    assert float(bias.grad) == 0


def test_the_weight_of_r1_and_r2_goes_to_its_last_one():
    w, x = torch.randn(2, 3, 3).double(), images()
    penalty = r1_r2(weight=3.0, final_weight=1.0)
    assert penalty.at == ("real", "fake")
    for progress, weight in ((0.0, 3.0), (0.25, 2.5), (1.0, 1.0)):
        torch.testing.assert_close(penalty(linear(x, w), x, progress), 0.5 * weight * w.square().sum())
    torch.testing.assert_close(r1_r2(weight=3.0)(linear(x, w), x, 1.0), 1.5 * w.square().sum())


def dirac_gan(weight, steps=1000, rate=0.1):
    """The way of a generator of one point, theta, against a discriminator psi x, where all data is 0."""
    theta, psi = (torch.ones(1, 1, 1, 1, requires_grad=True) for _ in range(2))
    loss, way = relativistic(), []
    for _ in range(steps):
        real, fake = (place.detach().clone().requires_grad_() for place in (torch.zeros_like(theta), theta))
        judged = loss.of(psi * real - psi * fake)
        for place in (real, fake) if weight else ():
            judged = judged + r1_r2(weight=weight)((psi * place).flatten(), place)
        (down,) = torch.autograd.grad(judged, psi)
        (up,) = torch.autograd.grad(loss.of(psi.detach() * theta), theta)
        with torch.no_grad():
            psi -= rate * down
            theta -= rate * up
        way.append((float(theta.detach()), float(psi.detach())))
    return torch.tensor(way)


def test_a_dirac_gan_converges_with_both_penalties_alone():
    """Source: Mescheder et al. 2018; Huang et al. 2024."""
    bare, penalised = dirac_gan(0.0)[-500:], dirac_gan(0.5)[-500:]
    assert bare.norm(dim=1).min() > 0.2
    assert (bare.sign().diff(dim=0) != 0).sum(dim=0).min() > 5
    assert penalised.norm(dim=1).max() < 1e-6
