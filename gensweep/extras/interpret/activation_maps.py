"""Which units react to which label, at which noise level.

Shapes: n images, s noise levels, k labels, u units of all layers, one layer after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from gensweep.errors import ConfigError
from gensweep.extras.interpret.recording import PathStep, recording
from gensweep.families.family import Denoising, Family, Judging
from gensweep.noise import Noise

#: A unit reacts to a label if its corrected p is at most this.
SIGNIFICANCE_LEVEL = 0.05
#: The random stream of the sign flips.
SIGN_FLIP_STREAM = 0
#: Sign flips in one matrix product; more take more memory.
FLIPS_AT_ONCE = 50
#: A unit that labels change by less than this part of its root mean square has no effect: that is rounding.
MIN_RELATIVE_CHANGE = 1e-5
#: The least variance as a part of the mean square; below it is rounding.
MIN_RELATIVE_VARIANCE = 1e-6
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

    def raised_units(self, label: int, count: int, *, network: str | None = None) -> list[Unit]:
        """The units that a label raises most, at most `count` of them, the strongest first; of one network if named.

        Each is significant at some level, and raised in the mean over levels.
        """
        mean, significant = self.effect[:, label].mean(dim=0), (self.p[:, label] <= SIGNIFICANCE_LEVEL).any(dim=0)
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


class Selectivity(NamedTuple):
    """`effect` in standard deviations of the unit, positive where the label raises it; `p`, corrected."""

    effect: Float64[Tensor, "k u"]
    p: Float64[Tensor, "k u"]


def selectivity(responses: Float[Tensor, "n k u"], flips: Noise) -> Selectivity:
    """What each label does to each unit, against the other labels on the same images.

    The effect is Cohen's d: the mean of (unit under the label) - (mean under the others), divided by the unit's
    standard deviation over all images and labels, so that no effect is beyond k / sqrt(k - 1).  What is tested is its
    mean over images divided by its standard error, so that a label which changes only how much a unit varies is no
    effect.  p is the share of sign flips, one sign an image for all labels and units (a sample of `flips` each, and
    the data themselves), whose largest such |t|, over all labels and units, is no smaller.  So the chance of any
    p <= 0.05, among however many units, is at most 0.05 if labels leave means as they are and deviations are symmetric,
    however much they vary under each label.
    Source: Westfall & Young 1993 (the maximum corrects for the number of tests); Winkler et al. 2014 (sign flips hold
    under unequal variances); Phipson & Smyth 2010 (counting the data themselves).
    """
    k = responses.shape[1]
    wide = responses.double()
    centred = wide - wide.mean(dim=1, keepdim=True)
    spread = wide.std(dim=(0, 1), correction=0)
    chance = centred.square().mean(dim=(0, 1)).sqrt()
    silent = chance <= MIN_RELATIVE_CHANGE * wide.square().mean(dim=(0, 1)).sqrt()
    effect = torch.where(silent, 0, centred.mean(dim=0) * (k / (k - 1)) / spread)
    standard = torch.where(silent, 0, centred / chance).float()
    squares = standard.square().sum(dim=0)
    parts = torch.split(flips.samples, FLIPS_AT_ONCE)
    largest = torch.cat([_largest(standard, squares, part, flips.key) for part in parts])
    # Two sums of the same numbers in another order are equal.
    reached = _studentised(standard.sum(dim=0), squares, len(wide)) * (1 - 1e-5)
    beaten = torch.searchsorted(largest.sort().values, reached.contiguous())
    return Selectivity(effect, (1 + len(largest) - beaten).double() / (1 + len(largest)))


def _largest(
    standard: Float[Tensor, "n k u"], squares: Float[Tensor, "k u"], samples: Tensor, key: int
) -> Float[Tensor, " r"]:
    """The largest |t|, of any label and unit, with images' deviations turned round at random."""
    n = len(standard)
    signs = (2 * Noise(key, samples).integers(2, n, stream=SIGN_FLIP_STREAM) - 1).to(standard)
    sums = (signs @ standard.flatten(1)).view(-1, *squares.shape)
    return _studentised(sums, squares, n).amax(dim=(1, 2))


def _studentised(sums: Float[Tensor, "*r k u"], squares: Float[Tensor, "k u"], n: int) -> Float[Tensor, "*r k u"]:
    """|t| of the mean of n numbers, from their sum and their sum of squares; 0 where all are 0."""
    variance = (squares - sums.square() / n).clamp(min=MIN_RELATIVE_VARIANCE * squares) / (n - 1)
    return sums.abs() / (n * variance).clamp(min=torch.finfo(variance.dtype).tiny).sqrt()
