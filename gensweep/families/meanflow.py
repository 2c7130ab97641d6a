"""MeanFlow: a network learns the mean velocity between two times, which takes noise to an image in one step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from annotated_types import Interval, doc
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.diffusion.gamma import wide
from gensweep.diffusion.guidance import guided, scale_at, training_labels
from gensweep.diffusion.levels import UNIFORM_CELL, draw_times
from gensweep.diffusion.parameterisations import NETWORK_TIMES
from gensweep.diffusion.samplers.sampler import Denoise
from gensweep.diffusion.straight_path import have_intervals, most_intervals, velocity_of_identity
from gensweep.errors import ParameterError
from gensweep.families.denoising import sampling_network
from gensweep.families.family import FAMILIES, Batch, Loss, evaluating
from gensweep.families.flow import FlowFamily
from gensweep.nn.layers import Conditioning
from gensweep.registry import SameAs, Section

#: Random stream of an interval's second time; see TRAINING_NOISE_STREAM for the others.
SECOND_TIME_STREAM = 7
#: Added to a squared error before it becomes a weight.  Source: Geng et al. 2025, eq. 22.
ERROR_OFFSET = 1e-3


@dataclass(frozen=True, kw_only=True)
class MeanFlow:
    """Share of images for the mean velocity, error weights, and training guidance.  Source: Geng et al. 2025."""

    share: Annotated[
        float, Interval(ge=0, le=1), doc("share of images that learn a mean velocity; the others learn the velocity")
    ] = 0.25
    power: Annotated[
        float, Interval(ge=0, le=2), doc("an image's weight is 1 / (squared error)^power; 0: all equal")
    ] = 0.75
    learnt_guidance: Annotated[
        float,
        Interval(ge=0, le=100),
        doc("guidance built into the velocity in training, at no cost in sampling; 1: none"),
    ] = 1.0


@FAMILIES.register("meanflow")
class MeanFlowFamily(FlowFamily):
    """A flow that also learns mean velocities, so that Euler steps are exact: one to four are enough.

    Other samplers, the likelihood and image editing use only the velocity, as in a flow.  The network must have a
    `Conditioning`, which receives the length of the interval as a second time.
    Source: Geng et al. 2025; Ho & Salimans 2022 (guidance).
    """

    of_training = (*FlowFamily.of_training, "meanflow")

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        meanflow: Annotated[Callable[[], MeanFlow], Section(MeanFlow)],
        **settings: Annotated[Any, SameAs(FlowFamily)],
    ) -> None:
        super().__init__(channels, size, classes, **settings)
        self.mean = meanflow()
        for module in self.networks[self.sampled].modules():
            if isinstance(module, Conditioning):
                module.add_interval()
                self.told_intervals = True

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Raise ParameterError for a network without interval input."""
        if not self.told_intervals:
            message = "has no gensweep.nn.layers.Conditioning, which it needs for intervals; choose unet, cnn or dit"
            raise ParameterError("network", message)
        return super().optimizers()

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """The squared error of the mean velocity over an interval drawn for each image, weighted by its own size.

        With r = t it is the loss of flow matching.  Source: Geng et al. 2025, eq. 9 to 11 and 22.
        """
        one = self.flow.times(draw_times(batch.noise, batch.total, self.flow.drawing)).float()
        other = self.flow.times(wide(batch.noise.uniform(stream=SECOND_TIME_STREAM)) + UNIFORM_CELL / 2).float()
        apart = have_intervals(batch.noise.samples, self.mean.share)
        t, r = torch.where(apart, one.maximum(other), one), torch.where(apart, one.minimum(other), one)
        eps = self._paired_noise(batch)
        z = torch.lerp(batch.images, eps, t.view(-1, 1, 1, 1))
        labels = training_labels(batch.labels, batch.noise, classes=self.classes, dropout=self.label_dropout)
        # A fixed number per consecutive images, so the host need not ask the device for it.
        rows = apart.int().argsort(descending=True, stable=True)[: most_intervals(len(z), self.mean.share)]
        target = self._target(z, r, t, eps - batch.images, labels, rows)
        output = networks[self.sampled](z, interval_times(r, t), labels).float()
        error = (output - target).square().sum(dim=(1, 2, 3))
        weight = (error.detach() + ERROR_OFFSET) ** -self.mean.power
        signals = {"velocity_error": error.detach().mean() / z[0].numel()}
        yield Loss(self.sampled, (weight * error).mean(), "mean_velocity", signals=signals)

    def by_cost(self) -> list[tuple[float, MeanFlowFamily]]:
        """Variants for images that learn a mean velocity, and for images that learn the velocity."""
        both = []
        for share, kind in ((self.mean.share, 1.0), (1 - self.mean.share, 0.0)):
            alike = copy.copy(self)
            alike.mean = replace(self.mean, share=kind)
            both.append((share, alike))
        return both

    def denoise(self, network: nn.Module, labels: Int[Tensor, " n"] | None) -> Denoise:
        """The network as a denoiser: mean velocity along a step, velocity at a level.

        Along a step to t = 0 it predicts the image; else the point where the step, extended to t = 0, would end.
        """
        at_a_level, drawing = super().denoise(network, labels), sampling_network(network, self.sampling_precision)
        shown = labels if self.classes else None

        def denoise(x: Tensor, sigma: float, until: float | None = None) -> Tensor:
            if until is None:
                return at_a_level(x, sigma)
            t, r = sigma / (1 + sigma), until / (1 + until)

            def mean_velocity(z: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
                return drawing(z, interval_times(torch.full_like(t, r), t), labels)

            z, scale = x / (1 + sigma), scale_at(sigma, self.guidance, self.guidance_interval)
            # A slice, not a length: an exported graph accepts any batch size.
            times = torch.full_like(z[:, 0, 0, 0], t)
            u = guided(mean_velocity, z, times, shown, null=self.classes, scale=scale)
            x_0 = z - t * u.to(z.dtype)
            return x_0 if r else x_0.clamp(-1, 1)

        return denoise

    def _target(
        self,
        z: Float[Tensor, "b c h w"],
        r: Float[Tensor, " b"],
        t: Float[Tensor, " b"],
        velocity: Float[Tensor, "b c h w"],
        labels: Int[Tensor, " b"] | None,
        rows: Int[Tensor, " k"],
    ) -> Float[Tensor, "b c h w"]:
        """Target of the mean velocity; it differs from the velocity only in some rows."""
        network = self.networks[self.sampled]
        # Without gradients, dropout and rounding, as it needs small differences of outputs.
        with evaluating(network), torch.autocast(z.device.type, enabled=False):
            if labels is not None and self.mean.learnt_guidance != 1:
                free = network(z, interval_times(t, t), torch.full_like(labels, self.classes))
                velocity = torch.where(
                    (labels == self.classes).view(-1, 1, 1, 1),
                    velocity,
                    torch.lerp(free, velocity, self.mean.learnt_guidance),
                )
            shown = None if labels is None else labels[rows]
            found = velocity_of_identity(
                lambda z, r, t: network(z, interval_times(r, t), shown), z[rows], r[rows], t[rows], velocity[rows]
            )
            return velocity.index_copy(0, rows, found)


def interval_times(r: Float[Tensor, " b"], t: Float[Tensor, " b"]) -> Float[Tensor, "b 2"]:
    """The network's time inputs for intervals from r to t: their end and length."""
    return NETWORK_TIMES * torch.stack([t, t - r], dim=1)
