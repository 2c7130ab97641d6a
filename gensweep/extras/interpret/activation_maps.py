"""Which units react to which label, at which noise level.

Shapes: n images, s noise levels, k labels, u units of all layers, one layer after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from gensweep.errors import ConfigError
from gensweep.extras.interpret.recording import PathStep, recording
from gensweep.extras.interpret.selectivity import selectivity
from gensweep.families.family import Denoising, Family, Judging
from gensweep.noise import Noise

#: A unit reacts to a label if its corrected p is at most this.
SIGNIFICANCE_LEVEL = 0.05
#: Run the networks under labels (n,).
Forward = Callable[[Tensor], object]


@dataclass(frozen=True, order=True)
class Unit:
    """Channel `index` of what a layer reads, counted from 0."""

    layer: str
    index: int


@dataclass(frozen=True, eq=False)
class ActivationMap:
    """The selectivity of every unit, see `selectivity`.

    `widths` are numbers of units by layer, in the order of the last axis; `levels` are noise levels, falling, or a
    single None for a network that has none.
    """

    widths: Mapping[str, int]
    levels: Sequence[float | None]
    effect: Float64[Tensor, "s k u"]
    p: Float64[Tensor, "s k u"]

    @cached_property
    def units(self) -> list[Unit]:
        """All of them, in the order of the last axis."""
        return [Unit(layer, index) for layer, count in self.widths.items() for index in range(count)]

    def mean_effect(self, label: int) -> Float64[Tensor, " u"]:
        """The effect of a label on each unit, averaged over noise levels."""
        return self.effect[:, label].mean(dim=0)

    def raised_units(self, label: int, count: int, *, network: str | None = None) -> list[Unit]:
        """The units that a label raises most, at most `count` of them, the strongest first; of one network if named.

        Each is significant at some level, and raised in the mean over levels.
        """
        mean, significant = self.mean_effect(label), (self.p[:, label] <= SIGNIFICANCE_LEVEL).any(dim=0)
        order = mean.argsort(descending=True, stable=True).tolist()
        raised = [self.units[column] for column in order if significant[column] and mean[column] > 0]
        return [unit for unit in raised if network in (None, unit.layer.partition(".")[0])][:count]


def map_denoiser(
    family: Denoising, layers: Mapping[str, nn.Module], path: Sequence[PathStep], classes: int, flips: Noise
) -> ActivationMap:
    """Show the noisy images of each step under every label, so that only the label differs."""

    def forward_at(step: PathStep) -> Forward:
        return lambda labels: family.denoise(family.networks[family.sampled], labels)(step.x, step.sigma)

    responses = [_responses(forward_at(step), layers, classes, len(step.x), step.x.device) for step in path]
    return _test(responses, [step.sigma for step in path], flips)


def map_generator(
    family: Family, layers: Mapping[str, nn.Module], noise: Noise, classes: int, flips: Noise
) -> ActivationMap:
    """Show the same random numbers under every label; a network that judges looks at the images that they become."""

    def forward(labels: Tensor) -> object:
        images = family.sample(family.networks[family.sampled], noise, labels)
        return family.judged(images, labels) if isinstance(family, Judging) else images

    return _test([_responses(forward, layers, classes, len(noise.samples), noise.samples.device)], [None], flips)


@torch.no_grad()
def _responses(
    forward: Forward, layers: Mapping[str, nn.Module], classes: int, n: int, device: torch.device
) -> dict[str, Float[Tensor, "n k c"]]:
    """The activations of units under each label, by layer, in the order in which the network runs its layers."""
    responses: dict[str, list[Tensor]] = {}
    with recording(layers) as activations:
        for label in range(classes):
            forward(torch.full((n,), label, device=device))
            for name, units in activations.items():
                # Guidance doubles the batch, and the half with labels comes last.
                responses.setdefault(name, []).append(units[-n:].cpu())
    return {name: torch.stack(each, dim=1) for name, each in responses.items()}


def _test(
    responses: Sequence[Mapping[str, Float[Tensor, "n k c"]]], levels: Sequence[float | None], flips: Noise
) -> ActivationMap:
    """One test for all levels together, so that p is corrected for their number too."""
    widths = {name: each.shape[-1] for name, each in responses[0].items()}
    if not widths:
        raise ConfigError("none of these layers reads maps, only latents, times or labels; choose other layers")
    columns = torch.cat([torch.cat([*each.values()], dim=-1) for each in responses], dim=-1)
    found = selectivity(columns, flips)
    effect, p = (each.view(len(each), len(levels), -1).transpose(0, 1) for each in found)
    return ActivationMap(widths, tuple(levels), effect, p)
