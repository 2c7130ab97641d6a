"""Variational autoencoders, unconditional or class-conditional."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, cast

import torch
from annotated_types import Interval, doc
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from gensweep.families.family import FAMILIES, Batch, BoundPoints, Conditional, Loss
from gensweep.families.optimizers import Adam
from gensweep.nn.networks import AUTOENCODERS, Autoencoder
from gensweep.noise import Noise
from gensweep.registry import Choice, Section
from gensweep.vae import (
    MIN_INFORMATION,
    Deviation,
    GaussianPixels,
    Posterior,
    log_evidence,
    mean_over_workers,
    with_free_bits,
)

#: Random stream of the training latents.
TRAINING_LATENT_STREAM = 0
#: Random stream of the pixel noise in sampling.
PIXEL_STREAM = 1
#: Random stream of the sampling latents.
SAMPLING_LATENT_STREAM = 3
#: First random stream of a bound's latents.
BOUND_LATENT_STREAM = 16

Weight: TypeAlias = Annotated[float, Interval(ge=0, le=1000)]
Decoding: TypeAlias = Annotated[
    Literal["mean", "draw"],
    doc("output for an image: the mean of the decoder's distribution, or a draw from it"),
]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Deviation of pixels, number of latent units, and how the loss uses their divergence from N(0, I).

    Source: Kingma & Welling 2014; Higgins et al. 2017 (beta); Kingma et al. 2016, section 3.3 (free bits).
    """

    deviation: Deviation = "shared"
    latent: Annotated[int, Interval(ge=1, le=65_536), doc("number of latent units")] = 64
    beta: Annotated[Weight, doc("weight of the latents' divergence from N(0, I) in the loss; 1 is the ELBO")] = 1.0
    free_bits: Annotated[
        Weight, doc("minimum of each unit's divergence, averaged over a batch, in nats; 0 is the ELBO")
    ] = 0.0


class LatentVariableModel(nn.Module):
    """Encoder, decoder and pixel likelihood: one network, so they are averaged, wrapped and saved together."""

    def __init__(self, networks: Autoencoder, pixels: GaussianPixels) -> None:
        super().__init__()
        self.decoder, self.encoder, self.pixels = networks.decoder, networks.encoder, pixels

    def forward(
        self, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None, eps: Float[Tensor, "b latent"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b latent"]]:
        """Log p(x | z) for latents drawn from the posterior with eps, and the divergence of each unit, in nats."""
        posterior = Posterior.of(self.encoder(images, labels))
        output = self.decoder(posterior.at(eps), labels)
        with torch.autocast(images.device.type, enabled=False):
            return self.pixels.log_p(output.float(), images).float(), posterior.divergence()


@FAMILIES.register("vae")
class VaeFamily:
    """An encoder and a decoder that are trained on a bound of the likelihood of images.

    Source: Kingma & Welling 2014; Rezende et al. 2014.
    """

    sampled = "autoencoder"
    of_training = ("vae.beta", "vae.free_bits")

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        conditional: Conditional = False,
        decoding: Decoding = "mean",
        network: Annotated[
            Callable[[int, int, int, int, int], Autoencoder], Choice(AUTOENCODERS, "conv"), doc("encoder and decoder")
        ],
        vae: Annotated[Callable[[], Evidence], Section(Evidence)],
        optimizer: Annotated[Callable[[], Adam], Section(Adam)],
    ) -> None:
        self.classes = classes if conditional else 0
        self.decoding, self.vae, self.adam = decoding, vae(), optimizer()
        self.rate_schedule, self.clip = self.adam.rate_schedule, self.adam.clip
        pixels = GaussianPixels(channels, self.vae.deviation)
        made = network(channels, size, self.classes, self.vae.latent, pixels.outputs)
        self.networks: dict[str, nn.Module] = {self.sampled: LatentVariableModel(made, pixels)}
        self.memories: dict[str, nn.Module] = {}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One, for all of it."""
        return {self.sampled: self.adam.optimizer(self.networks[self.sampled])}

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The negative ELBO in bits per dimension, with the divergence weighted as set."""
        eps = batch.noise.normal(self.vae.latent, stream=TRAINING_LATENT_STREAM)
        log_p, divergence = networks[self.sampled](batch.images, self._labels(batch.labels), eps)
        mean = mean_over_workers(divergence)
        paid = with_free_bits(divergence, mean, self.vae.free_bits)
        bits = 1 / (batch.images[0].numel() * math.log(2))
        signals = {
            "reconstruction": -log_p.detach().mean() * bits,
            "divergence": mean.sum() * bits,
            "collapsed_units": (mean < MIN_INFORMATION).float().mean(),
        }
        yield Loss(self.sampled, (self.vae.beta * paid - log_p).mean() * bits, "negative_elbo", signals=signals)

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """One pass through the decoder."""
        return self.decode(network, self.prior(noise), noise, labels)

    def prior(self, noise: Noise) -> Float[Tensor, "n latent"]:
        """The latents of samples."""
        return noise.normal(self.vae.latent, stream=SAMPLING_LATENT_STREAM)

    def encode(
        self, network: nn.Module, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b latent"]:
        """The means of the posteriors."""
        return self._posterior(network, images, labels).mean

    def decode(
        self, network: nn.Module, latents: Float[Tensor, "n latent"], noise: Noise, labels: Int[Tensor, " n"] | None
    ) -> Float[Tensor, "n c h w"]:
        """Images of latents: the means of the decoder's distribution, or draws from it with the noise."""
        model = cast(LatentVariableModel, network)
        output = model.decoder(latents, self._labels(labels)).float()
        drawn = self.decoding == "draw"
        images = model.pixels.draw(output, noise, PIXEL_STREAM) if drawn else model.pixels.mean(output)
        return images.clamp(-1, 1)

    def bits_per_dim(
        self,
        network: nn.Module,
        images: Float[Tensor, "b c h w"],
        labels: Int[Tensor, " b"] | None,
        noise: Noise,
        points: BoundPoints,
    ) -> Float64[Tensor, " b"]:
        """The importance-weighted bound of `points.latents` draws from each image's posterior, whatever beta."""
        model, posterior = cast(LatentVariableModel, network), self._posterior(network, images, labels)
        weights = []
        for k in range(points.latents):
            eps = noise.normal(self.vae.latent, stream=BOUND_LATENT_STREAM + k)
            output = model.decoder(posterior.at(eps), self._labels(labels)).float()
            log_p = model.pixels.log_p(output, images)
            weights.append((log_p + posterior.log_prior_ratio(eps)).double())
        return -log_evidence(torch.stack(weights)) / (images[0].numel() * math.log(2))

    def _posterior(self, network: nn.Module, images: Tensor, labels: Int[Tensor, " b"] | None) -> Posterior:
        return Posterior.of(cast(LatentVariableModel, network).encoder(images, self._labels(labels)))

    def _labels(self, labels: Int[Tensor, " b"] | None) -> Int[Tensor, " b"] | None:
        return labels if self.classes else None
