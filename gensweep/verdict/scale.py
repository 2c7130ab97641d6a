"""The scale on which scores differ: their logarithm where they have one sign, else the scores themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray


@dataclass(frozen=True)
class Scale:
    """Turns scores into numbers whose differences are symmetric, and back; the order stays.

    `sign` is that of all scores, whose logarithm is taken: 1 or -1; 0 for scores of both signs, taken as they are.
    """

    sign: int

    @classmethod
    def of(cls, scores: Float64[ndarray, "..."]) -> Scale:
        """The logarithm, where all scores have the same sign."""
        return cls(1 if (scores > 0).all() else -1 if (scores < 0).all() else 0)

    def forward(self, scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """From scores to the scale."""
        return self.sign * np.log(self.sign * scores) if self.sign else scores

    def back(self, values: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """From the scale to scores."""
        return self.sign * np.exp(self.sign * values) if self.sign else values

    def relative(self, deviations: Float64[ndarray, "..."], scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """Small deviations of scores as deviations on the scale."""
        return np.asarray(deviations / self.size(scores))

    def size(self, scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """How much scores change where they change by 1 on the scale."""
        return np.abs(scores) if self.sign else np.ones_like(scores)
