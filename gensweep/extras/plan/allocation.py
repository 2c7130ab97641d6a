"""How a family should spend a budget: a wider network for fewer images, or a narrower one for more."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from gensweep.extras.plan.forecast import FittedFamily, ScoreForecast, forecast_of, pooled_deviation
from gensweep.extras.plan.scored_trainings import Array, ScoredTraining

#: Tried widths needed before others are proposed: two of them fit any exponent.
MIN_WIDTHS = 3
#: Largest width of a proposed network, relative to the widest one tried.
MAX_WIDENING = 2
#: Exponent of width in the FLOPs per image if only one width was tried: input channels times output channels.
WIDTH_EXPONENT = 2.0
#: A width is refused if its own trials are worse than the law predicts by more than this factor, and by more than the
#: differences between trials explain (one-sided t test).
MAX_MISFIT = 1.1
MISFIT_CONFIDENCE = 0.975


@dataclass(frozen=True)
class Allocation:
    """Use of a budget by a family: the settings of the trainings `members`, a width, images, and the expected score.

    `near` are the width and its neighbours among the candidates; `draws` are of the logarithm of the score.
    """

    group: str
    members: tuple[ScoredTraining, ...]
    width: int
    near: tuple[int, ...]
    images: float
    flops_per_image: float
    forecast: ScoreForecast
    draws: Array

    @property
    def flops(self) -> float:
        """FLOPs of the whole training."""
        return self.images * self.flops_per_image

    def widened(self, factor: float) -> Allocation:
        """A copy with a wider interval, by a factor on logarithms."""
        middle = np.median(self.draws)
        draws: Array = middle + factor * (self.draws - middle)
        return replace(self, draws=draws, forecast=forecast_of(draws))


@dataclass(frozen=True)
class FamilyPlanner:
    """A fitted family with variable widths, unless `free_size`: then the budget does not pay for a larger network."""

    group: str
    fitted: FittedFamily
    free_size: bool = False

    def members(self, budget: float) -> tuple[int, ...]:
        """Trainings of the configuration with the best expected score at its width.

        Trainings that stopped early do not count, as their final scores are unknown.
        """
        trainings = self.fitted.trainings
        whole = [index for index, each in enumerate(trainings) if not each.curve.stopped_early]
        groups: dict[str, list[int]] = {}
        for index in whole or range(len(trainings)):
            groups.setdefault(trainings[index].curve.configuration, []).append(index)
        return min(
            (tuple(group) for group in groups.values()),
            key=lambda group: self._at(trainings[group[0]].width, (), budget, group).forecast.value,
        )

    @property
    def largest(self) -> float:
        """The most that one of its trainings spent."""
        return max(each.curve.spent for each in self.fitted.trainings)

    def widths(self, budget: float) -> list[int]:
        """Candidate widths at a budget: the tried ones and, with enough of them, the steps between.

        A wider network than any tried one must see at least the same number of images.
        """
        tried = sorted({each.width for each in self.fitted.trainings})
        if len(tried) < MIN_WIDTHS:
            return tried
        more, wider = budget / self.largest, 1.0
        if more > 1 and not self.free_size:
            # As seconds are measured, a wider network may cost hardly more, or less.
            _, power = self.exponents
            wider = MAX_WIDENING if more >= MAX_WIDENING**power else more ** (1 / power)
        return list(range(tried[0], int(tried[-1] * wider) + 1, reduce(math.gcd, tried)))

    def allocate(self, budget: float) -> Allocation:
        """The width with the best expected score, between the nearest two that misfit."""
        best = self.members(budget)
        width = self.fitted.trainings[best[0]].width
        misfits = self.misfits(width)
        low = max((each for each in misfits if each < width), default=0)
        high = min((each for each in misfits if each > width), default=math.inf)
        widths = [each for each in self.widths(budget) if low < each < high]
        near = [tuple(widths[max(0, index - 1) : index + 2]) for index in range(len(widths))]
        found = [self._at(width, beside, budget, best) for width, beside in zip(widths, near, strict=True)]
        return min(found, key=lambda each: each.forecast.value)

    def _at(self, width: int, near: tuple[int, ...], budget: float, indices: tuple[int, ...]) -> Allocation:
        members = [self.fitted.trainings[index] for index in indices]
        of_width = [each for each in members if each.width == width] or members
        wider, (power, cost_power) = width / of_width[0].width, self.exponents
        flops = of_width[0].flops_per_image * wider**power
        images = budget / (of_width[0].unit_cost * (1.0 if self.free_size else wider**cost_power))
        draws = self.fitted.draws(indices, flops, np.array([images]), anew=True)[:, 0]
        return Allocation(self.group, tuple(members), width, near, images, flops, forecast_of(draws), draws)

    def misfits(self, width: int) -> dict[int, float]:
        """By misfitting width, the factor by which its trials are worse than the law predicts.

        The prediction starts from the trials of another `width`: only the difference between the two is tested.  If the
        law is right, the effects of trials are independent of width.
        """
        from scipy.stats import t

        tried = np.array([each.width for each in self.fitted.trainings])
        groups = {int(each): self.fitted.effects[tried == each] for each in np.unique(tried)}
        if (spread := pooled_deviation([*groups.values()])) is None:
            return {}
        own, chance, found = groups[width], spread * float(t.ppf(MISFIT_CONFIDENCE, len(tried) - len(groups))), {}
        for other, effects in groups.items():
            worse = float(effects.mean() - own.mean())
            if worse > max(math.log(MAX_MISFIT), chance * math.sqrt(1 / len(effects) + 1 / len(own))):
                found[other] = math.exp(worse)
        return found

    @cached_property
    def exponents(self) -> tuple[float, float]:
        """By which power of the width the FLOPs of an image grow, and its cost in the unit of the budget."""
        points = np.array([(each.width, each.flops_per_image, each.unit_cost) for each in self.fitted.trainings])
        width, *costs = np.log(points).T
        if np.ptp(width) == 0:
            return WIDTH_EXPONENT, WIDTH_EXPONENT
        flops, cost = (float(np.polyfit(width, each, 1)[0]) for each in costs)
        return flops, cost
