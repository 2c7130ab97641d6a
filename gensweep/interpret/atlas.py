"""Which units react to which label, at which noise level.

Shapes: n images, s noise levels, k labels, u units of all layers, one layer after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from gensweep.errors import ConfigError
from gensweep.families.family import Denoising
from gensweep.families.game import DISCRIMINATOR, GENERATOR
from gensweep.families.gan import GanFamily
from gensweep.interpret.recording import recording
from gensweep.interpret.selectivity import selectivity
from gensweep.interpret.trajectory import Step
from gensweep.noise import Noise

__all__ = ["ALPHA", "Atlas", "Unit", "atlas_of_denoiser", "atlas_of_gan"]

#: A unit reacts to a label if chance does as much less often than this.
ALPHA = 0.05
#: What a label does, as (label) -> nothing, and the layers that listen meanwhile.
Ask = Callable[[int], object]


@dataclass(frozen=True, order=True)
class Unit:
    """Channel `index` of what a layer reads, counted from 0."""

    layer: str
    index: int


@dataclass(frozen=True, eq=False)
class Atlas:
    """The selectivity of every unit, see `selectivity`, and its standard deviation over images and labels.

    `widths` are numbers of units by layer, in the order of the last axis; `levels` are noise levels, falling, or a
    single None for a network that knows none.
    """

    widths: Mapping[str, int]
    levels: Sequence[float | None]
    effect: Float64[Tensor, "s k u"]
    p: Float64[Tensor, "s k u"]
    spread: Float64[Tensor, "s u"]

    def places(self) -> dict[str, range]:
        """Where the units of each layer stand on the last axis."""
        ends = [*accumulate(self.widths.values(), initial=0)]
        return {layer: range(*pair) for layer, pair in zip(self.widths, pairwise(ends), strict=True)}

    def units(self) -> Iterator[Unit]:
        """All of them, in the order of the last axis."""
        return (Unit(layer, index) for layer, width in self.widths.items() for index in range(width))

    def overall(self, label: int) -> Float64[Tensor, " u"]:
        """The mean over levels of what a label does to each unit."""
        return self.effect[:, label].mean(dim=0)

    def direction(self, label: int, layer: str, level: int, unit: int | None = None) -> Float64[Tensor, " c"]:
        """Weights on a layer's units that tell a label at a level, or one unit alone, in standard deviations.

        The effects divided by standard deviations, so that a sum over units is the effects' weighted mean of
        activations in standard deviations: the direction of a linear discriminant that takes units for independent.
        """
        here = self.places()[layer]
        weights, spread = self.effect[level, label, here], self.spread[level, here]
        if unit is not None:
            weights = torch.zeros_like(weights).index_fill(0, torch.tensor([unit]), 1.0)
        weights = weights / weights.abs().sum().clamp(min=1e-12)
        return torch.where(spread > 0, weights / spread, 0)

    def raised(self, label: int, count: int, *, network: str | None = None) -> list[Unit]:
        """The units that a label raises most, at most `count` of them, the strongest first; of one network if named.

        Each must pass the test at some level, at ALPHA, and be raised over all levels together.
        """
        overall, passes = self.overall(label), (self.p[:, label] <= ALPHA).any(dim=0)
        units = list(self.units())
        order = overall.argsort(descending=True, stable=True).tolist()
        return [
            units[place]
            for place in order
            if passes[place] and overall[place] > 0 and network in (None, units[place].layer.partition(".")[0])
        ][:count]


def atlas_of_denoiser(
    family: Denoising,
    network: nn.Module,
    layers: Mapping[str, nn.Module],
    path: Sequence[Step],
    classes: int,
    permutations: Noise,
) -> Atlas:
    """Every label shown with the noisy images of each stop of a way, so that only the label differs."""

    def asking(step: Step) -> Ask:
        def ask(label: int) -> object:
            labels = torch.full((len(step.x),), label, device=step.x.device)
            return family.denoise(network, labels)(step.x, step.sigma)

        return ask

    found = [_responses(asking(step), layers, classes, len(step.x)) for step in path]
    return _atlas(found, [step.sigma for step in path], permutations)


def atlas_of_gan(
    family: GanFamily, layers: Mapping[str, nn.Module], noise: Noise, classes: int, permutations: Noise
) -> Atlas:
    """Every label with the same latents; the discriminator looks at the images that come of it."""
    generator, discriminator = family.networks[GENERATOR], family.networks[DISCRIMINATOR]
    n, device = len(noise.samples), noise.samples.device
    told = (torch.zeros(n, device=device),) if family.gan.augmentation.timed else ()

    def ask(label: int) -> object:
        labels = torch.full((n,), label, device=device)
        return discriminator(family.sample(generator, noise, labels), labels, *told)

    return _atlas([_responses(ask, layers, classes, n)], [None], permutations)


@torch.no_grad()
def _responses(ask: Ask, layers: Mapping[str, nn.Module], classes: int, n: int) -> dict[str, Float[Tensor, "n k c"]]:
    """What units say under each label, by layer, in the order in which layers are passed."""
    found: dict[str, list[Tensor]] = {}
    with recording(layers) as seen:
        for label in range(classes):
            ask(label)
            for name, units in seen.items():
                # With guidance the label's half of the batch comes last.
                found.setdefault(name, []).append(units[-n:].cpu())
    return {name: torch.stack(each, dim=1) for name, each in found.items()}


def _atlas(
    found: Sequence[Mapping[str, Float[Tensor, "n k c"]]], levels: Sequence[float | None], permutations: Noise
) -> Atlas:
    """One test for all levels, so that p is corrected for their number too."""
    widths = {name: each.shape[-1] for name, each in found[0].items()}
    if not widths:
        raise ConfigError("--layer: none of these layers reads maps, only latents, times or labels; choose others")
    every = torch.cat([torch.cat([*each.values()], dim=-1) for each in found], dim=-1)
    effect, p, spread = selectivity(every, permutations)
    effect, p = (each.view(len(each), len(levels), -1).transpose(0, 1) for each in (effect, p))
    return Atlas(widths, tuple(levels), effect, p, spread.view(len(levels), -1))
