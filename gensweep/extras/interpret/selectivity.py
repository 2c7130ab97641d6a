"""How far a label moves a unit, and whether chance would do as much.

Shapes: n pairings, each one image shown with every label; k labels; u units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.noise import Noise

#: The random stream of the sign flips.
SIGN_FLIP_STREAM = 0
#: Sign flips in one matrix product; more take more memory.
FLIPS_AT_ONCE = 50
#: A unit that labels change by less than this part of its root mean square has no effect: that is rounding.
MIN_RELATIVE_CHANGE = 1e-5
#: The least variance as a part of the mean square; below it is rounding.
MIN_RELATIVE_VARIANCE = 1e-6


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
