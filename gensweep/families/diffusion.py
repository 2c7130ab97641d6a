"""Denoising diffusion models, unconditional or with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn
from torch.func import functional_call

from gensweep.diffusion.denoiser import denoised, denoiser
from gensweep.diffusion.denoising_losses import Prediction
from gensweep.diffusion.formulation import Formulation, formulation
from gensweep.diffusion.guidance import guided, scale_at, training_labels
from gensweep.diffusion.likelihood import bound
from gensweep.diffusion.process import q_sample
from gensweep.diffusion.samplers.sampler import START_STREAM, Denoise, Denoised, from_noise
from gensweep.families.denoising import DenoisingSettings
from gensweep.families.family import FAMILIES, Batch, Loss
from gensweep.nn import kernels
from gensweep.nn.precision import Precision, rounded, uses_bfloat16
from gensweep.noise import Noise
from gensweep.registry import SameAs, Section

__all__ = ["DiffusionFamily"]

#: The random stream of the noise in training.  Taken are 0 (levels), 2 (dropped labels), 3 (start of samplers), 16 on.
TRAINING_NOISE_STREAM = 1
#: Above this noise level hardly anything is left of the image; samplers divide by it, which multiplies rounding errors.
MAX_EXACT_SIGMA = 200.0


@FAMILIES.register("diffusion")
class DiffusionFamily:
    """A denoising diffusion model.

    Samples are drawn in the sampling precision: "auto" is bfloat16 where that is faster, except at the highest noise
    levels and in the last layer, whose rounding errors would be visible.
    Source: Ho et al. 2020; Ho & Salimans 2022 (guidance).
    """

    sampled = "denoiser"

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        sampling_precision: Precision = "auto",
        diffusion: Annotated[Callable[[], Formulation], Section(formulation)],
        **settings: Annotated[Any, SameAs(DenoisingSettings)],
    ) -> None:
        self.shape = (channels, size, size)
        shared = DenoisingSettings(**settings)
        self.classes = classes if shared.conditional else 0
        self.guidance, self.guidance_interval = shared.guidance, shared.guidance_interval
        self.label_dropout = shared.label_dropout
        self.sampling_precision = sampling_precision
        self.process, self.parameterisation, self.loss, self.levels = diffusion()
        self.sampler = shared.sampler
        self.adam = shared.optimizer()
        self.warmup, self.clip = self.adam.warmup, self.adam.clip
        outputs = 2 * channels if self.loss.learns_variance else channels
        self.networks: dict[str, nn.Module] = {self.sampled: shared.network(channels, size, self.classes, outputs)}
        self.memories: dict[str, nn.Module] = {"levels": self.levels}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One, for the denoiser."""
        return {self.sampled: self.adam.optimizer(self.networks[self.sampled])}

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The mean loss at a level drawn for each image."""
        drawn = self.levels.draw(batch.noise, batch.total)
        eps = batch.noise.normal(*self.shape, stream=TRAINING_NOISE_STREAM)
        coefficients = self.parameterisation(drawn.sigma)
        time = self.process.network_time(drawn.sigma) if coefficients.time is None else coefficients.time
        noisy = q_sample(batch.images, drawn.sigma, eps, coefficients.into)
        labels = training_labels(batch.labels, batch.noise, classes=self.classes, dropout=self.label_dropout)
        output = networks[self.sampled](noisy, time, labels).float()
        losses = self.loss(Prediction(self.process, coefficients, batch.images, eps, drawn, output))
        self.levels.observe(drawn, losses.detach(), batch.noise, batch.total)
        weighted = losses if drawn.weight is None else drawn.weight * losses
        yield Loss(self.sampled, weighted.mean(), "diffusion")

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """Draw images along the whole chain, or the steps of it that the sampler is set to."""
        start = from_noise(noise.normal(*self.shape, stream=START_STREAM))
        return self.sampler(self.process, self.denoise(network, labels), start, noise)

    def denoise(self, network: nn.Module, labels: Int[Tensor, " n"] | None) -> Denoise:
        """The network as a denoiser of images with these labels, guided as set, in the sampling precision.

        At levels above MAX_EXACT_SIGMA that is always the network's own.
        """
        device = next(network.parameters(), torch.empty(0)).device
        coarse = uses_bfloat16(self.sampling_precision, device)
        if self.sampling_precision == "auto" and device.type == "cpu":
            coarse = coarse and kernels.active() == "c++"
        weights = rounded(network) if coarse else {}

        def run(*inputs: Tensor | None, sigma: float) -> Tensor:
            if sigma > MAX_EXACT_SIGMA or not coarse:
                return network(*inputs)  # type: ignore[no-any-return]
            with torch.autocast(device.type, torch.bfloat16):
                return functional_call(network, weights, inputs)  # type: ignore[no-any-return]

        def predict(x: Tensor, time: Tensor, sigma: float) -> Tensor:
            here = partial(run, sigma=sigma)
            if not self.classes or labels is None:
                return here(x, time, None)
            scale = scale_at(sigma, self.guidance, self.guidance_interval)
            return guided(here, x, time, labels, null=self.classes, scale=scale)

        return denoiser(predict, self.parameterisation, self.process.network_time)

    def bits_per_dim(
        self,
        network: nn.Module,
        images: Float[Tensor, "b c h w"],
        labels: Int[Tensor, " b"] | None,
        noise: Noise,
        timesteps: int | None,
    ) -> Float64[Tensor, " b"]:
        """The variational bound, with learnt variances if the network has them; see `Likelihood`."""

        def denoise(x: Tensor, sigma: Tensor) -> Denoised:
            def predict(x: Tensor, time: Tensor) -> Tensor:
                return network(x, time, labels if self.classes else None)  # type: ignore[no-any-return]

            return denoised(predict, self.parameterisation, self.process.network_time, x, sigma)

        return bound(self.process, denoise, images, noise, timesteps=timesteps).total
