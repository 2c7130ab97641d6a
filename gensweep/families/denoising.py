"""Common parts of denoising families: their network, label dropout, and sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

import torch
from annotated_types import Interval, doc
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn
from torch.func import functional_call

from gensweep import kernels
from gensweep.diffusion.guidance import guided, scale_at
from gensweep.diffusion.likelihood import Bound
from gensweep.diffusion.parameterisations import Parameterisation, denoised
from gensweep.diffusion.samplers.sampler import SAMPLERS, START_STREAM, Denoise, Process, Sampler, from_noise
from gensweep.families.family import BoundPoints, Conditional
from gensweep.families.optimizers import Adam
from gensweep.nn.networks import DENOISERS
from gensweep.nn.precision import Precision, rounded, uses_bfloat16
from gensweep.noise import Noise
from gensweep.registry import Choice, Section

#: Random stream of the training noise.  Also in use: 0 (levels), 2 (dropped labels), 3 (start of samplers), 4 (levels
#: of a bound), 5 (reconstruction of vdm), 6 (dequantisation), and from 16 on the samplers' steps.
TRAINING_NOISE_STREAM = 1

Guidance: TypeAlias = Annotated[
    float,
    Interval(ge=0, le=100),
    doc("0 ignores the label, 1 is plain conditioning, more exaggerates it (Ho & Salimans 2022, whose w is one less)"),
]
GuidanceInterval: TypeAlias = Annotated[
    tuple[float, float] | None,
    doc("noise levels (low, high] with guidance; outside it is 1; null: all (Kynkaanniemi et al. 2024)"),
]
SamplingPrecision: TypeAlias = Annotated[
    Precision, doc("precision of the network in sampling; auto: bfloat16 on devices with units for it")
]


class DenoisingFamily:
    """A network that denoises images at every level of a process, with labels or without.

    A subclass sets `process`, `parameterisation`, the training loss and, unless it defines its own likelihood, `bound`.
    Source: Ho & Salimans 2022 (guidance).
    """

    sampled = "denoiser"
    of_training: tuple[str, ...] = ("family.label_dropout",)
    #: True if `denoise` also uses the level where a step ends, and predicts along the step.
    told_intervals = False
    sampling_precision: Precision = "float32"
    #: Highest noise level for sampling in that precision.
    max_coarse_sigma = math.inf
    process: Process
    parameterisation: Parameterisation
    bound: Callable[..., Bound]

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        inputs: int,
        outputs: int,
        *,
        conditional: Conditional = False,
        guidance: Guidance = 1.0,
        guidance_interval: GuidanceInterval = None,
        label_dropout: Annotated[
            float,
            Interval(ge=0, le=1),
            doc("share of training images without their label, needed for guidance (Ho & Salimans 2022, p_uncond)"),
        ] = 0.1,
        network: Annotated[
            Callable[[int, int, int, int], nn.Module], Choice(DENOISERS, "unet"), doc("the denoising network")
        ],
        sampler: Annotated[Sampler, Choice(SAMPLERS, "ancestral"), doc("how images are generated")],
        optimizer: Annotated[Callable[[], Adam], Section(Adam)],
    ) -> None:
        self.shape = shape
        self.classes = classes if conditional else 0
        self.guidance, self.guidance_interval, self.label_dropout = guidance, guidance_interval, label_dropout
        self.sampler = sampler
        self.adam = optimizer()
        self.rate_schedule, self.clip = self.adam.rate_schedule, self.adam.clip
        self.networks: dict[str, nn.Module] = {self.sampled: network(inputs, shape[1], self.classes, outputs)}
        self.memories: dict[str, nn.Module] = {}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimizer, for the denoiser and everything trained with it."""
        return {self.sampled: self.adam.optimizer(self.networks[self.sampled])}

    def plain(self, network: nn.Module) -> nn.Module:
        """The part of a network like `networks[sampled]` that maps noisy image, time and labels to a prediction."""
        return network

    def process_of(self, network: nn.Module) -> Process:
        """The process that a network like `networks[sampled]` denoises."""
        return self.process

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """Draw images along the whole chain, or the steps of it that the sampler is set to."""
        start = from_noise(noise.normal(*self.shape, stream=START_STREAM))
        return self.sampler(self.process_of(network), self.denoise(network, labels), start, noise)

    def denoise(self, network: nn.Module, labels: Int[Tensor, " n"] | None) -> Denoise:
        """The network as a denoiser of images with these labels, guided as set."""
        drawing, time = sampling_network(network, self.sampling_precision), self.process_of(network).network_time
        shown = labels if self.classes else None

        def denoise(x: Tensor, sigma: float, *_: float) -> Tensor:
            def predict(x: Tensor, time: Tensor) -> Tensor:
                scale = scale_at(sigma, self.guidance, self.guidance_interval)
                called = network if sigma > self.max_coarse_sigma else drawing
                return guided(called, x, time, shown, null=self.classes, scale=scale)

            levels = torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
            return denoised(predict, self.parameterisation, time, x, levels)

        return denoise

    def bits_per_dim(
        self,
        network: nn.Module,
        images: Float[Tensor, "b c h w"],
        labels: Int[Tensor, " b"] | None,
        noise: Noise,
        points: BoundPoints,
    ) -> Float64[Tensor, " b"]:
        """The variational bound of each image, with predictions clipped to [-1, 1] as in the samplers."""
        process, shown = self.process_of(network), labels if self.classes else None

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return denoised(
                lambda x, time: network(x, time, shown), self.parameterisation, process.network_time, x, sigma
            )

        return self.bound(process, denoise, images, noise, points=points.levels).total


def sampling_network(network: nn.Module, precision: Precision) -> Callable[..., Tensor]:
    """The network for sampling: itself, or with all layers but the last in bfloat16.

    "auto" is bfloat16 where that is faster.
    """
    device = next(network.parameters(), torch.empty(0)).device
    coarse = uses_bfloat16(precision, device)
    if precision == "auto" and device.type == "cpu":
        coarse = coarse and kernels.active() == "c++"
    if not coarse:
        return network
    weights = rounded(network)

    def coarsely(*inputs: Tensor | None) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return functional_call(network, weights, inputs)  # type: ignore[no-any-return]

    return coarsely
