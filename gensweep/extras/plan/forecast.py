"""Forecast of a training's score by a scaling law, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from gensweep.extras.plan.scaling_law import SCORE_DEVIATION, TRIAL_DEVIATION, fit_law, fit_replicates, law_terms
from gensweep.extras.plan.scored_trainings import Array, Observations, ScoredTraining, observe

#: Number of bootstrap laws: the ends of an 80 % interval are their 20th and 180th.
REPLICATES = 200
#: Scores that are drawn from each law of the bootstrap.
DRAWS_PER_LAW = 5
#: The part of the scores that an interval is to hold, in the middle of their distribution.
INTERVAL_PART = 0.8
#: The law is compared with a training's points from its end divided by this: later points predict the future better,
#: as no training follows a law exactly.
LATE_SPAN = 2.0
#: Smallest number of trainings whose slopes are compared; fewer have no reliable spread.
MIN_SLOPES = 3
#: The seed of the bootstrap and of all draws: the same question has the same answer.
FORECAST_SEED = 0


class ScoreForecast(NamedTuple):
    """An expected score (the median of its distribution), and the ends of the 80 % interval."""

    value: float
    low: float
    high: float


def forecast_of(log_scores: Array) -> ScoreForecast:
    """The forecast that draws of a score's logarithm give."""
    ends = ((1 - INTERVAL_PART) / 2, 0.5, (1 + INTERVAL_PART) / 2)
    low, middle, high = np.exp(np.quantile(log_scores, ends))
    return ScoreForecast(float(middle), float(low), float(high))


def pooled_deviation(groups: Sequence[Array]) -> float | None:
    """The standard deviation of numbers within groups; None if each group has one number."""
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return math.sqrt(squares / freedom) if freedom else None


@dataclass(frozen=True)
class FittedFamily:
    """A law of one family, the laws that may be true instead (replicates, parameters), and their data."""

    observations: Observations
    best: Array
    laws: Array

    @classmethod
    def of(cls, trainings: Sequence[ScoredTraining]) -> FittedFamily:
        """Fit a law to trainings that have a point each at least."""
        observations = observe(trainings)
        # Vectors are short: a second thread of the linear algebra would only wait, at seventy times the cost.
        with threadpool_limits(limits=1, user_api="blas"):
            best, rng = fit_law(observations), np.random.default_rng(FORECAST_SEED)
            return cls(observations, best, fit_replicates(observations, best, rng, REPLICATES))

    @property
    def trainings(self) -> tuple[ScoredTraining, ...]:
        """The trainings that the law was fitted to."""
        return self.observations.trainings

    @cached_property
    def effects(self) -> Array:
        """How much worse than the law each training is, as a logarithm above the floor, drawn to 0."""
        means = [self._effects(self.best[None], [index])[0] for index in range(len(self.trainings))]
        return np.concatenate(means)

    @cached_property
    def seed_deviation(self) -> float | None:
        """The deviation of effects between trainings of one configuration; None if each was trained once."""
        names = self.observations.configurations
        return pooled_deviation([self.effects[names == name] for name in np.unique(names)])

    def draws(self, members: Sequence[int], flops_per_image: float, images: Array, *, anew: bool = False) -> Array:
        """Logarithms of the scores of one more training after those images, (draws, images).

        It has the settings of the trainings `members`, or unknown settings without members.  `anew` means another
        training with another seed.  With few configurations the spread of effects and scores is uncertain, so both have
        the tails of Student's t distribution.
        """
        scale, rng = self.observations.scale, np.random.default_rng(FORECAST_SEED)
        count = len(self.laws) * DRAWS_PER_LAW
        freedom = max(2, int(self.observations.configurations.max()))
        log_images = np.log(images / scale.images)
        log_flops = np.full_like(log_images, math.log(flops_per_image / scale.flops_per_image))
        mean, deviation = self._effects(self.laws, members)
        if anew:
            deviation = np.hypot(deviation, self.seed_deviation or 0.0)
        certain = law_terms(self.laws, log_flops, log_images).log_score + mean[:, None]
        noise = np.exp(self.laws[:, SCORE_DEVIATION])
        drift = self._drift(members, log_images)
        certain, drift = (np.repeat(each, DRAWS_PER_LAW, axis=0) for each in (certain, drift))
        deviation, noise = (np.repeat(each, DRAWS_PER_LAW)[:, None] for each in (deviation, noise))
        of_training, of_score = rng.standard_t(freedom, (2, count, 1))
        drawn: Array = certain + deviation * of_training + noise * of_score + drift * rng.normal(size=(count, 1))
        floor = math.log(scale.floor) if scale.floor else -math.inf
        return np.logaddexp(floor, math.log(scale.score) + drawn)

    def _effects(self, laws: Array, members: Sequence[int]) -> tuple[Array, Array]:
        """Mean and deviation of the effect of some trainings given their scores, by each law."""
        between, within = np.exp(2 * laws[:, TRIAL_DEVIATION]), np.exp(2 * laws[:, SCORE_DEVIATION])
        if not members:
            return np.zeros(len(laws)), np.sqrt(between)
        means, variances = [], []
        for index in members:
            own = self._late & (self.observations.training == index)
            shrinkage = between / (between + within / own.sum())
            means.append(shrinkage * self._residuals(laws)[:, own].mean(axis=1))
            variances.append(between * (1 - shrinkage))
        return np.mean(means, axis=0), np.sqrt(np.mean(variances, axis=0))

    def _drift(self, members: Sequence[int], log_images: Array) -> Array:
        """The deviation that comes from trainings which learn faster or slower than the law, (laws, images).

        It is the spread of the slopes of residuals over log images, less what noise gives, times the way from the
        middle of the late points of these trainings.
        """
        data = self.observations
        own = self._late & np.isin(data.training, list(members)) if members else np.ones(len(data.training), dtype=bool)
        begin = float(data.log_images[own].mean())
        return self._slope_deviation[:, None] * abs(log_images - begin)

    @cached_property
    def _late(self) -> npt.NDArray[np.bool_]:
        """True for points in the last part of their training."""
        data = self.observations
        ends = np.full(len(data.counts), -np.inf)
        np.maximum.at(ends, data.training, data.log_images)
        late: npt.NDArray[np.bool_] = data.log_images >= ends[data.training] - math.log(LATE_SPAN)
        return late

    @cached_property
    def _slope_deviation(self) -> Array:
        data = self.observations
        sums = np.bincount(data.training, data.log_images, minlength=len(data.counts))
        from_centre = data.log_images - (sums / data.counts)[data.training]
        lever = np.bincount(data.training, from_centre**2, minlength=len(data.counts))
        sloped = lever > 0
        if sloped.sum() < MIN_SLOPES:
            return np.zeros(len(self.laws))
        products = (self._residuals(self.laws) * from_centre) @ np.eye(len(data.counts))[data.training]
        squares = (products[:, sloped] ** 2 / lever[sloped]).sum(axis=1)
        excess = squares - sloped.sum() * np.exp(2 * self.laws[:, SCORE_DEVIATION])
        deviation: Array = np.sqrt(np.maximum(excess, 0) / lever.sum())
        return deviation

    def _residuals(self, laws: Array) -> Array:
        data = self.observations
        residuals: Array = data.log_score - law_terms(laws, data.log_flops, data.log_images).log_score
        return residuals
