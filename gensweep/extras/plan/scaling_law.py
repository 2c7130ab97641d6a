"""A saturating power law of score over the size of a network and its training images.

    score = F + E + A (f / f_0)^-a + B (D / D_0)^-b

f is the FLOPs of training an image, which stand for the network's size, and D the images, so that a training takes
f D.  F is known: real images score hardly less.  E is what no compute takes away beside it.  Source: Hoffmann et al.
2022, eq. 2, whose N parameters are f here and whose E is F + E.  Everything is in logarithms: of what lies above F, and
of the parameters, which are above 0 then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


class LawPrior(NamedTuple):
    """What is thought of a law before data: the logarithm of each parameter is normal around `mean`."""

    mean: Array
    deviation: Array


#: Parameters in the order of their array: E, A, a, B, b, then the standard deviations of the logarithms of trials
#: (between them) and of scores (within one).  E, A and B are in units of the median of what lies above F.  Exponents of
#: one half are what Hoffmann et al. (0.34, 0.28) and Hestness et al. 2017 (0.07 to 0.5) found, rounded up as small
#: networks learn faster; E may be anything, so its deviation is a factor of 7.
PRIOR = LawPrior(np.log(np.array([0.3, 0.2, 0.5, 0.5, 0.5, 0.2, 0.03])), np.array([2.0, 1.5, 0.7, 1.5, 0.7, 1.0, 1.0]))
FLOOR, SIZE, SIZE_EXPONENT, IMAGES, IMAGES_EXPONENT, TRIAL_DEVIATION, SCORE_DEVIATION = range(7)


@dataclass(frozen=True)
class LawScale:
    """The units in which a law is written: FLOPs an image, images, and score above the known `floor` F."""

    flops_per_image: float
    images: float
    score: float
    floor: float


class LawTerms(NamedTuple):
    """The three parts of a law's scores above the known floor, which add up."""

    floor: Array
    size: Array
    images: Array

    @property
    def log_score(self) -> Array:
        """The logarithm of their sum."""
        total: Array = np.log(self.floor + self.size + self.images)
        return total


def law_terms(parameters: Array, log_flops: Array, log_images: Array) -> LawTerms:
    """The parts for logarithms of FLOPs an image and of images, both in the law's units.

    `parameters` are an array of one law, or of several with the parameters as the last axis; the points follow as the
    last axis of what comes out.
    """
    floor, size, images = (np.exp(parameters[..., index, None]) for index in (FLOOR, SIZE, IMAGES))
    a, b = (np.exp(parameters[..., index, None]) for index in (SIZE_EXPONENT, IMAGES_EXPONENT))
    return LawTerms(floor + 0 * log_images, size * np.exp(-a * log_flops), images * np.exp(-b * log_images))
