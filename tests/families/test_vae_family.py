"""The VAE family against probabilistic PCA, whose likelihood has a closed form."""

import math
from functools import partial

import pytest
import torch
from tiny import CLASSES, SIZE, batch, build
from torch import nn
from torch.distributions import MultivariateNormal

from gensweep.families.family import Batch, BoundPoints
from gensweep.families.optimizers import Adam
from gensweep.families.vae import Evidence, VaeFamily
from gensweep.nn.networks import Autoencoder
from gensweep.noise import Noise
from gensweep.vae import SHARED_DEVIATION_RATE

#: Images of 2 x 3 values, and latents of the linear model.
D, LATENT = 6, 2
#: The two directions of the data are this wide, all others have NOISE.  Far from the ends, where intervals are open,
#: and noise far wider than a level.
SPREADS, NOISE = torch.tensor([0.16, 0.12], dtype=torch.float64), 0.1


def linear(channels, size, classes, latent, outputs):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = nn.Linear(D, latent)
            self.log_variance = nn.Parameter(torch.zeros(latent))

        def forward(self, x, labels):
            mean = self.mean(x.flatten(1))
            return torch.cat([mean, self.log_variance.expand_as(mean)], dim=1)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = nn.Linear(latent, D)

        def forward(self, z, labels):
            return self.mean(z).view(-1, 1, 2, 3)

    return Autoencoder(Encoder(), Decoder())


def linear_family(**settings):
    def vae():
        return Evidence(latent=LATENT, **settings)

    adam = partial(Adam, learning_rate=0.02, beta2=0.99, warmup=0, clip=None)
    return VaeFamily(1, 2, 0, network=linear, vae=vae, optimizer=adam)


def data(n=300):
    """Images whose covariance has the spreads and the noise exactly, of values between the levels, too."""
    x = torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x = x - x.mean(dim=0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / n)).T
    scales = torch.cat([(SPREADS**2 + NOISE**2).sqrt(), torch.full((D - LATENT,), NOISE, dtype=torch.float64)])
    turn = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(4)))[0]
    return (x * scales @ turn.T + 0.1).float().view(n, 1, 2, 3)


def best(x):
    """Maximum likelihood of probabilistic PCA: mean, W without rotation, variance.

    Source: Tipping & Bishop 1999, eq. 3.7 and 3.8.
    """
    flat = x.double().flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T, correction=0))
    variance = values[:-LATENT].mean()
    return flat.mean(dim=0), vectors[:, -LATENT:] * (values[-LATENT:] - variance).sqrt(), variance


def pca_bits(x):
    """-log2 p(x) per value, for the interval of a level, whose width is 2 / 255."""
    mean, W, variance = best(x)
    density = MultivariateNormal(mean, W @ W.T + variance * torch.eye(D, dtype=torch.float64))
    return -(density.log_prob(x.double().flatten(1)) / D + math.log(2 / 255)) / math.log(2)


def at_the_optimum(x, widened=1.0):
    """A linear VAE with PPCA's parameters and its posterior, whose standard deviations may be too large.

    M = W'W + variance is diagonal, and the posterior N(M^-1 W'(x - mean), variance M^-1): Tipping & Bishop 1999, eq. 6.
    """
    family, (mean, W, variance) = linear_family(), best(x)
    model = family.networks[family.sampled].eval()
    M = (W.T @ W).diagonal() + variance
    with torch.no_grad():
        model.decoder.mean.weight.copy_(W)
        model.decoder.mean.bias.copy_(mean)
        model.encoder.mean.weight.copy_(W.T / M[:, None])
        model.encoder.mean.bias.copy_(-(W.T / M[:, None]) @ mean)
        model.encoder.log_variance.copy_((variance / M).log() + 2 * math.log(widened))
        model.pixels.shared.copy_(variance.log() / 2 / SHARED_DEVIATION_RATE)
    return family, model


def bits(family, model, x, k, seed=0):
    with torch.no_grad():
        return family.bits_per_dim(model, x, None, Noise(seed, torch.arange(len(x))), BoundPoints(None, k))


def test_the_exact_posterior_gives_the_likelihood_of_ppca():
    """Lucas et al. 2019, section 4: there the bound of a linear VAE is tight, for each image and each latent."""
    x = data()
    family, model = at_the_optimum(x)
    for seed in (0, 1):
        torch.testing.assert_close(bits(family, model, x, 1, seed), pca_bits(x), rtol=0, atol=2e-3)


def test_a_wide_posterior_loses_its_divergence_and_k_tightens_it():
    x = data()
    family, model = at_the_optimum(x, widened=1.5)
    truth = float(pca_bits(x).mean())
    gap = LATENT * (1.5**2 - 1 - 2 * math.log(1.5)) / 2 / (D * math.log(2))
    found = [float(bits(family, model, x, k).mean()) - truth for k in (1, 3, 10, 100)]
    assert found[0] == pytest.approx(gap, abs=0.03)
    assert found == sorted(found, reverse=True)
    assert abs(found[-1]) < 4e-3


@pytest.mark.trains
def test_training_a_linear_vae_finds_the_likelihood_of_probabilistic_pca():
    """Lucas et al. 2019, theorem 1: its bound has no other local maximum than that of PPCA's likelihood."""
    torch.manual_seed(1)
    x, family = data(), linear_family()
    (optimizer,) = family.optimizers().values()
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 800)
    for step in range(800):
        noise = Noise(0, torch.arange(len(x)) + step * len(x))
        (loss,) = family.losses(family.networks, Batch(x, torch.zeros(len(x), dtype=torch.int64), noise, len(x)))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        decay.step()
    model = family.networks[family.sampled].eval()
    assert float(bits(family, model, x, 1).mean()) == pytest.approx(float(pca_bits(x).mean()), abs=3e-3)
    directions = torch.linalg.svdvals(model.decoder.mean.weight.detach()).double()
    torch.testing.assert_close(directions, SPREADS, rtol=0.05, atol=0)
    assert math.exp(SHARED_DEVIATION_RATE * float(model.pixels.shared.detach())) == pytest.approx(NOISE, rel=0.05)


def test_the_loss_is_the_bound_and_beta_weighs_the_divergence():
    """At the loss's own latents, and averaged over batches, in which the bound of one draw has the same mean."""
    family, x = build("vae"), batch(64)
    model = family.networks[family.sampled].eval()
    draws = 60
    with torch.no_grad():
        torch.nn.init.normal_(model.encoder.posterior.weight, std=0.2)
        losses = []
        for draw in range(draws):
            (loss,) = family.losses(family.networks, x._replace(noise=Noise(draw, x.noise.samples)))
            losses.append(loss)
        bound = torch.stack(
            [
                family.bits_per_dim(model, x.images, None, Noise(draw, x.noise.samples), BoundPoints(None, 1)).mean()
                for draw in range(draws)
            ]
        )
    values = torch.stack([loss.value for loss in losses]).double()
    error = (values.var() / draws + bound.var() / draws).sqrt()
    assert abs(float(values.mean() - bound.mean())) < 4 * float(error)
    for beta in (0.0, 4.0):
        weighed = build("vae", vae={"latent": 6, "beta": beta})
        weighed.networks = family.networks
        with torch.no_grad():
            (loss,) = weighed.losses(family.networks, x)
        signals = loss.signals
        expected = float(signals["reconstruction"] + beta * signals["divergence"])
        assert float(loss.value) == pytest.approx(expected, rel=1e-5)


def test_units_that_say_nothing_are_counted():
    family, x = build("vae"), batch(16)
    model = family.networks[family.sampled].eval()
    with torch.no_grad():
        model.encoder.posterior.weight.zero_()
        model.encoder.posterior.bias.zero_()
        model.encoder.posterior.bias[:2] = torch.tensor([0.5, 0.1])  # 0.125 and 0.005 nats
        (loss,) = family.losses(family.networks, x)
    assert float(loss.signals["collapsed_units"]) == pytest.approx(5 / 6)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("deviation", ["shared", "pixel"])
@pytest.mark.parametrize("decoding", ["mean", "draw"])
def test_samples_are_decoded_latents_of_the_prior_and_images_are_encoded(conditional, deviation, decoding):
    family = build("vae", conditional, decoding=decoding, vae={"latent": 6, "deviation": deviation})
    network, noise = family.networks[family.sampled].eval(), Noise(3, torch.arange(5))
    labels = torch.arange(5) % CLASSES if conditional else None
    with torch.no_grad():
        drawn = family.sample(network, noise, labels)
        assert torch.equal(family.decode(network, family.prior(noise), noise, labels), drawn)
        latents = family.encode(network, drawn, labels)
    assert drawn.shape == (5, 1, SIZE, SIZE)
    assert latents.shape == (5, 6)
    assert (latents[0] != latents[1]).all()
