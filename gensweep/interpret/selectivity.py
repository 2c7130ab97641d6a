"""How far a label moves a unit, and whether chance would do as much.

Shapes: n pairings, each one image shown with every label; k labels; u units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.noise import Noise

__all__ = ["Selectivity", "selectivity"]

#: The stream of the permutations, and how many are looked at at once.
PERMUTE, AT_ONCE = 0, 50
#: A unit on which labels do less than this, as a part of its size, is left out: that is rounding.
ROUNDING = 1e-5


class Selectivity(NamedTuple):
    """`effect` in standard deviations of the unit, positive where the label raises it; `p`, corrected; `spread` is
    that standard deviation.
    """

    effect: Float64[Tensor, "k u"]
    p: Float64[Tensor, "k u"]
    spread: Float64[Tensor, " u"]


def selectivity(responses: Float[Tensor, "n k u"], permutations: Noise) -> Selectivity:
    """What each label does to each unit, against the other labels on the same images.

    The effect is Cohen's d: the mean of (unit under the label) - (mean under the others), divided by the unit's
    standard deviation over all images and labels, so that no effect is beyond k / sqrt(k - 1).  Under the null
    hypothesis an image's labels may change places; p is the share of permutations (a sample of `permutations` each,
    and the data themselves) whose largest effect, over all labels and units in units of what chance does to each, is
    no smaller.  So the chance of any p <= 0.05, among however many units, is at most 0.05 if labels do nothing.
    Source: Westfall & Young 1993 (the maximum corrects for the number of tests); Phipson & Smyth 2010 (counting the
    data themselves).
    """
    k = responses.shape[1]
    wide = responses.double()
    centred = wide - wide.mean(dim=1, keepdim=True)
    spread = wide.std(dim=(0, 1), correction=0)
    # Of a sum over images with their labels at random.
    chance = centred.square().mean(dim=1).sum(dim=0).sqrt()
    silent = chance <= ROUNDING * wide.square().mean(dim=(0, 1)).sqrt()
    effect = torch.where(silent, 0, centred.mean(dim=0) * (k / (k - 1)) / spread)
    standard = torch.where(silent, 0, centred / chance).float()
    parts = torch.split(permutations.samples, AT_ONCE)
    largest = torch.cat([_largest(standard, part, permutations.key) for part in parts])
    # Two sums of the same numbers in another order are equal.
    reached = standard.sum(dim=0).abs() * (1 - 1e-5)
    beaten = torch.searchsorted(largest.sort().values, reached.contiguous())
    return Selectivity(effect, (1 + len(largest) - beaten).double() / (1 + len(largest)), spread)


def _largest(standard: Float[Tensor, "n k u"], samples: Tensor, key: int) -> Float[Tensor, " r"]:
    """The largest sum over images, of any label and unit, with the labels of every image in another order."""
    n, k, u = standard.shape
    orders = Noise(key, samples).uniform(n, k, stream=PERMUTE).argsort(dim=-1).to(standard.device)
    # picks[r, label, (image, order)]: which of an image's responses counts as that of the label.
    picks = torch.nn.functional.one_hot(orders, k).to(standard.dtype).permute(0, 2, 1, 3).reshape(-1, n * k)
    sums = picks @ standard.reshape(n * k, u)
    return sums.abs().amax(dim=1).view(len(samples), k).amax(dim=1)
