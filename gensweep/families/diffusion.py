"""Denoising diffusion models, unconditional or with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from gensweep.diffusion.guidance import drop_labels, guided
from gensweep.diffusion.losses import eps_loss
from gensweep.diffusion.process import GaussianDiffusion, gaussian_diffusion
from gensweep.diffusion.samplers import SAMPLERS, Sampler
from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.families.optimizers import Adam, adam
from gensweep.nn.networks import DENOISERS
from gensweep.noise import Noise
from gensweep.registry import Choice, Section

__all__ = ["DiffusionFamily"]

# Streams of randomness; the samplers' own begin at 16.
TIME, EPS, DROP, START = 0, 1, 2, 3


@FAMILIES.register("diffusion")
class DiffusionFamily:
    """A network that predicts the noise in an image.  Source: Ho et al. 2020; Ho & Salimans 2022 (guidance)."""

    sampled = "denoiser"

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        conditional: bool = False,
        guidance: Annotated[float, Field(ge=0, le=100)] = 1.0,
        label_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1,
        network: Annotated[Callable[[int, int, int], nn.Module], Choice(DENOISERS, "unet")],
        diffusion: Annotated[Callable[[], GaussianDiffusion], Section(gaussian_diffusion)],
        sampler: Annotated[Sampler, Choice(SAMPLERS, "ancestral")],
        optimizer: Annotated[Callable[[], Adam], Section(adam)],
    ) -> None:
        self.shape = (channels, size, size)
        self.classes = classes if conditional else 0
        self.guidance = guidance
        self.label_dropout = label_dropout
        self.process = diffusion()
        self.sampler = sampler
        self.adam = optimizer()
        self.warmup, self.clip = self.adam.warmup, self.adam.clip
        self.networks: dict[str, nn.Module] = {self.sampled: network(channels, size, self.classes)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One, for the denoiser."""
        return {self.sampled: self.adam.optimizer(self.networks[self.sampled])}

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The mean squared error of the noise, at a uniformly drawn step for each image."""
        denoiser = networks[self.sampled]
        labels = self._training_labels(batch)
        t = batch.noise.integers(self.process.timesteps, stream=TIME)
        eps = batch.noise.normal(*self.shape, stream=EPS)
        errors = eps_loss(self.process, lambda x_t, time: denoiser(x_t, time, labels), batch.images, t, eps)
        yield Loss(self.sampled, errors.mean(), "eps")

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """Draw images along the whole chain, or the steps of it that the sampler is set to."""

        def predict(x_t: Tensor, time: Tensor) -> Tensor:
            if not self.classes or labels is None:
                return network(x_t, time, None)  # type: ignore[no-any-return]
            return guided(network, x_t, time, labels, null=self.classes, scale=self.guidance)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            eps = predict(x_t, self.process.network_time(t)).float()
            return self.process.predict_x0_from_eps(x_t, t, eps).clamp(-1, 1)

        return self.sampler(self.process, denoise, noise.normal(*self.shape, stream=START), noise)

    def _training_labels(self, batch: Batch) -> Int[Tensor, " b"] | None:
        if not self.classes:
            return None
        dropped = batch.noise.uniform(stream=DROP) < self.label_dropout
        return drop_labels(batch.labels, dropped, null=self.classes)
