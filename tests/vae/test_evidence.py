"""The evidence bound against closed forms and torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from gensweep.vae import Posterior, log_evidence, mean_over_workers, with_free_bits


def posterior(n=7, latent=5):
    return Posterior.of(torch.randn(n, 2 * latent))


def test_divergence_and_densities_are_those_of_torch_distributions():
    found, eps, prior = posterior(), torch.randn(7, 5), Normal(0.0, 1.0)
    theirs = Normal(found.mean, (found.log_variance / 2).exp())
    torch.testing.assert_close(found.divergence(), kl_divergence(theirs, prior))
    z = found.at(eps)
    ratio = (prior.log_prob(z) - theirs.log_prob(z)).sum(dim=1)
    torch.testing.assert_close(found.log_prior_ratio(eps), ratio, rtol=1e-5, atol=1e-5)


def test_the_bound_rises_with_k_from_the_elbo_to_the_evidence():
    """For x ~ N(z, 1), z ~ N(0, 1) and the prior as the posterior, whose weights are log N(x; z, 1).

    Their mean is log N(x; 0, 1) - 1/2, and log p(x) = log N(x; 0, 2).
    """
    x, repeats, means = torch.linspace(-2, 2, 3, dtype=torch.float64), 4000, []
    for k in (1, 4, 16, 64):
        weights = Normal(torch.randn(k, repeats, 3, dtype=torch.float64), 1.0).log_prob(x)
        means.append(log_evidence(weights.flatten(1)).view(repeats, 3).mean(dim=0))
    torch.testing.assert_close(means[0], Normal(0.0, 1.0).log_prob(x) - 0.5, rtol=0, atol=0.15)
    truth = Normal(0.0, math.sqrt(2)).log_prob(x)
    gaps = [float((truth - mean).mean()) for mean in means]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 < gaps[-1] < 0.02 < 0.5 < gaps[0]


def test_free_bits_have_the_value_and_gradient_of_the_formula():
    """sum_j max(free, mean_j), by autograd on the formula itself."""
    leaf = (3 * torch.rand(8, 6) * torch.rand(6)).requires_grad_()
    free = float(leaf.detach().mean(dim=0).median()) + 1e-3
    formula = leaf.mean(dim=0).clamp(min=free).sum()
    (expected,) = torch.autograd.grad(formula, leaf)
    mine = with_free_bits(leaf, mean_over_workers(leaf), free).mean()
    (found,) = torch.autograd.grad(mine, leaf)
    assert float(mine.detach()) == pytest.approx(float(formula.detach()), rel=1e-6)
    torch.testing.assert_close(found, expected)
    assert (found == 0).any()
    assert (found > 0).any()
    assert torch.equal(with_free_bits(leaf, mean_over_workers(leaf), 0.0), leaf.sum(dim=1))
