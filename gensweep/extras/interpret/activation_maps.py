"""Which units react to which label, at which noise level.

Shapes: n images, s noise levels, k labels, u units of all layers in order.
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
from gensweep.families.family import Denoising, Family
from gensweep.noise import Noise

#: Largest corrected p of a unit that reacts to a label.
SIGNIFICANCE_LEVEL = 0.05
#: Random stream of the sign flips.
SIGN_FLIP_STREAM = 0
#: Sign flips per matrix product, limited by memory.
FLIPS_AT_ONCE = 50
#: Smallest effect relative to a unit's root mean square; less is rounding.
MIN_RELATIVE_CHANGE = 1e-5
#: Smallest variance relative to the mean square; less is rounding.
MIN_RELATIVE_VARIANCE = 1e-6
#: Runs the networks under labels (n,).
Forward = Callable[[Tensor], object]


@dataclass(frozen=True, order=True)
class Unit:
    """Input channel `index` of a layer, counted from 0."""

    layer: str
    index: int


@dataclass(frozen=True, eq=False)
class ActivationMap:
    """Selectivity of every unit, see `selectivity`.

    `widths` are numbers of units by layer, in the order of the last axis; `levels` are falling noise levels, or a
    single None for a network without.
    """

    widths: Mapping[str, int]
    levels: Sequence[float | None]
    effect: Float64[Tensor, "s k u"]
    p: Float64[Tensor, "s k u"]

    @cached_property
    def units(self) -> list[Unit]:
        """All units in the order of the last axis."""
        return [Unit(layer, index) for layer, count in self.widths.items() for index in range(count)]

    def raised_units(self, label: int, count: int) -> list[Unit]:
        """The at most `count` units that a label raises most, strongest first.

        Each is significant at some level, and raised in the mean over levels.
        """
        mean, significant = self.effect[:, label].mean(dim=0), (self.p[:, label] <= SIGNIFICANCE_LEVEL).any(dim=0)
        order = mean.argsort(descending=True, stable=True).tolist()
        return [self.units[column] for column in order if significant[column] and mean[column] > 0][:count]


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
    """Show the same random numbers under every label."""

    def forward(labels: Tensor) -> object:
        return family.sample(family.networks[family.sampled], noise, labels)

    return _test([_responses(forward, layers, classes, len(noise.samples), noise.samples.device)], [None], flips)


@torch.no_grad()
def _responses(
    forward: Forward, layers: Mapping[str, nn.Module], classes: int, n: int, device: torch.device
) -> dict[str, Float[Tensor, "n k c"]]:
    """Activations of units under each label, by layer, in the order in which the layers run."""
    responses: dict[str, list[Tensor]] = {}
    with recording(layers) as activations:
        for label in range(classes):
            forward(torch.full((n,), label, device=device))
            for name, units in activations.items():
                # Guidance doubles the batch; the half with labels is last.
                responses.setdefault(name, []).append(units[-n:].cpu())
    return {name: torch.stack(each, dim=1) for name, each in responses.items()}


def _test(
    responses: Sequence[Mapping[str, Float[Tensor, "n k c"]]], levels: Sequence[float | None], flips: Noise
) -> ActivationMap:
    """One test for all levels together, so that p is corrected for their number too."""
    widths = {name: each.shape[-1] for name, each in responses[0].items()}
    if not widths:
        raise ConfigError("these layers read only latents, times or labels, not maps; choose other layers")
    columns = torch.cat([torch.cat([*each.values()], dim=-1) for each in responses], dim=-1)
    found = selectivity(columns, flips)
    effect, p = (each.view(len(each), len(levels), -1).transpose(0, 1) for each in found)
    return ActivationMap(widths, tuple(levels), effect, p)


class Selectivity(NamedTuple):
    """`effect` in standard deviations of the unit, positive if the label raises it; corrected `p`."""

    effect: Float64[Tensor, "k u"]
    p: Float64[Tensor, "k u"]


def selectivity(responses: Float[Tensor, "n k u"], flips: Noise) -> Selectivity:
    """Effect of each label on each unit, compared with the other labels on the same images.

    The effect is Cohen's d: the mean of (unit under the label) - (mean under the others), divided by the unit's
    standard deviation over all images and labels, so its size is at most k / sqrt(k - 1).  The test uses its mean over
    images divided by the standard error, so a label that changes only a unit's variance has no effect.  p is the share
    of sign flips whose largest |t|, over all labels and units, is at least this |t|.  A sign applies to one image for
    all labels and units; each sample of `flips` is one flip, and the data count as one more.  The chance of any p <=
    0.05, over all units, is at most 0.05 if labels do not change means and deviations are symmetric, even if their
    variance depends on the label.  Source: Westfall & Young 1993 (the maximum corrects for the number of tests);
    Winkler et al. 2014 (sign flips hold under unequal variances); Phipson & Smyth 2010 (counting the data themselves).
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
    # Sums of the same numbers in another order count as equal.
    reached = _studentised(standard.sum(dim=0), squares, len(wide)) * (1 - 1e-5)
    beaten = torch.searchsorted(largest.sort().values, reached.contiguous())
    return Selectivity(effect, (1 + len(largest) - beaten).double() / (1 + len(largest)))


def _largest(
    standard: Float[Tensor, "n k u"], squares: Float[Tensor, "k u"], samples: Tensor, key: int
) -> Float[Tensor, " r"]:
    """Largest |t| over labels and units, with random signs of the images' deviations."""
    n = len(standard)
    signs = (2 * Noise(key, samples).integers(2, n, stream=SIGN_FLIP_STREAM) - 1).to(standard)
    sums = (signs @ standard.flatten(1)).view(-1, *squares.shape)
    return _studentised(sums, squares, n).amax(dim=(1, 2))


def _studentised(sums: Float[Tensor, "*r k u"], squares: Float[Tensor, "k u"], n: int) -> Float[Tensor, "*r k u"]:
    """|t| of the mean of n numbers, from their sum and sum of squares; 0 if all are 0."""
    variance = (squares - sums.square() / n).clamp(min=MIN_RELATIVE_VARIANCE * squares) / (n - 1)
    return sums.abs() / (n * variance).clamp(min=torch.finfo(variance.dtype).tiny).sqrt()
