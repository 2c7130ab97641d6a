"""Flow matching: a network learns the velocity of straight paths from images to noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import doc
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from gensweep.diffusion.guidance import training_labels
from gensweep.diffusion.levels import HOW_TIMES_ARE_DRAWN, Drawing, draw_times
from gensweep.diffusion.likelihood import flow_bits
from gensweep.diffusion.parameterisations import velocity
from gensweep.diffusion.samplers.sampler import SAMPLERS, Sampler
from gensweep.diffusion.straight_path import PAIRINGS, PATH_TIMES, Pairing, PathTimes, StraightPath, network_time
from gensweep.families.denoising import TRAINING_NOISE_STREAM, DenoisingFamily, SamplingPrecision
from gensweep.families.family import FAMILIES, Batch, BoundPoints, Loss
from gensweep.noise import Noise
from gensweep.registry import Choice, SameAs, Section


@dataclass(frozen=True, kw_only=True)
class FlowMatching:
    """Distribution of the times on the path, and the pairing of images with noise."""

    times: Annotated[
        PathTimes, Choice(PATH_TIMES, "uniform"), doc("distribution of the times on the path, in training")
    ]
    drawing: Annotated[Drawing, HOW_TIMES_ARE_DRAWN] = "independent"
    pairing: Annotated[
        Callable[[], Pairing], Choice(PAIRINGS, "independent"), doc("pairing of images with noise in training")
    ]


@FAMILIES.register("flow")
class FlowFamily(DenoisingFamily):
    """Flow matching along straight paths, also known as rectified flow.

    The network is a denoiser, so all samplers of diffusion models work; the papers use Euler's method.
    Source: Lipman et al. 2023; Liu et al. 2023; Ho & Salimans 2022 (guidance).
    """

    of_training = (*DenoisingFamily.of_training, "flow")
    process: StraightPath

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        sampling_precision: SamplingPrecision = "auto",
        flow: Annotated[Callable[[], FlowMatching], Section(FlowMatching)],
        sampler: Annotated[Sampler, Choice(SAMPLERS, "euler"), doc("how images are generated")],
        **settings: Annotated[Any, SameAs(DenoisingFamily)],
    ) -> None:
        self.process, self.parameterisation = StraightPath(), velocity
        self.flow = flow()
        self.pairing = self.flow.pairing()
        super().__init__((channels, size, size), classes, channels, channels, sampler=sampler, **settings)
        self.sampling_precision = sampling_precision

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The mean squared error of the velocity at a time drawn for each image.

        With x_t = (1 - t) x_0 + t eps it is that of eps - x_0.  Source: Lipman et al. 2023, eq. 23.
        """
        t = self.flow.times(draw_times(batch.noise, batch.total, self.flow.drawing)).float()
        eps = self._paired_noise(batch)
        x_t = torch.lerp(batch.images, eps, t.view(-1, 1, 1, 1))
        labels = training_labels(batch.labels, batch.noise, classes=self.classes, dropout=self.label_dropout)
        output = networks[self.sampled](x_t, network_time(t), labels).float()
        yield Loss(self.sampled, (output - (eps - batch.images)).square().mean(), "velocity")

    def bits_per_dim(
        self,
        network: nn.Module,
        images: Float[Tensor, "b c h w"],
        labels: Int[Tensor, " b"] | None,
        noise: Noise,
        points: BoundPoints,
    ) -> Float64[Tensor, " b"]:
        """The density of each image under the flow of the network, which is neither guided nor clipped."""
        shown = labels if self.classes else None
        return flow_bits(lambda z, t: network(z, network_time(t), shown).float(), images, noise, points=points.levels)

    def _paired_noise(self, batch: Batch) -> Float[Tensor, "b c h w"]:
        """Noise of each image, paired over the whole batch of all ranks and parts."""
        if self.pairing.min_batch == 1:
            return batch.noise.normal(*self.shape, stream=TRAINING_NOISE_STREAM)
        images, labels, positions = batch.whole()
        eps = Noise(batch.noise.key, positions).normal(*self.shape, stream=TRAINING_NOISE_STREAM)
        order = self.pairing(images, eps, labels if self.classes else None)
        return eps[order[batch.noise.samples - positions[0]]]
