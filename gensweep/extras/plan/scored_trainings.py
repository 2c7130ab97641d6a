"""Trainings whose scores a law is fitted to, and what of them is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gensweep.extras.plan.scaling_law import Array, LawScale
from gensweep.verdict.training_curves import CurvePoint, TrainingCurve

#: A score at less than so many times more compute than the last one is passed over: best-so-far scores that are near
#: each other share their errors, and would make a law look surer than it is.
MIN_STEP = 1.2
#: Scores at less than the largest compute over this are passed over: the first steps follow no power law.
FITTED_SPAN = 64.0
#: The part of what as many real images score, and of the best score seen, that no training is expected to get below.
#: Held-out images are no training images, and what is less diverse has less bias: 28.0 was seen where they score 30.6.
KNOWN_PART = 0.8


@dataclass(frozen=True)
class ScoredTraining:
    """A training: its curve over the compute that it spent, in one unit, and its cost of an image.

    `unit_cost` is what an image takes of that unit.  `width` is that of its network, `floor` the score of as many
    held-out real images, 0 where that is not known.
    """

    curve: TrainingCurve
    flops_per_image: float
    unit_cost: float
    width: int
    floor: float = 0.0

    @property
    def envelope(self) -> tuple[CurvePoint, ...]:
        """The best score so far at each point: that of its model if it had ended there."""
        best, points = math.inf, []
        for point in self.curve.points:
            best = min(best, point.order)
            points.append(replace(point, order=best))
        return tuple(points)

    def within(self, amount: float) -> ScoredTraining:
        """The part of it that an amount pays for; it may have no points."""
        points = tuple(point for point in self.curve.points if point.spent <= amount * (1 + 1e-9))
        return replace(self, curve=replace(self.curve, points=points))

    def images(self, spent: float) -> float:
        """Training images for that much of the unit."""
        return spent / self.unit_cost


@dataclass(frozen=True)
class Observations:
    """The scores of trainings of one family above the known floor, over points, in units of `scale`, logarithmic.

    `training` says whose a point is, by its number among `trainings`, each of which has a point.
    """

    trainings: tuple[ScoredTraining, ...]
    scale: LawScale
    log_score: Array
    log_flops: Array
    log_images: Array
    training: npt.NDArray[np.intp]

    @cached_property
    def counts(self) -> Array:
        """Points of each training."""
        return np.bincount(self.training, minlength=len(self.trainings)).astype(float)

    @cached_property
    def configurations(self) -> npt.NDArray[np.intp]:
        """The number of each training's configuration."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(each.curve.configuration, len(numbers)) for each in self.trainings])


def observe(trainings: Sequence[ScoredTraining]) -> Observations:
    """The points that a law is fitted to, and the trainings that have any; there must be at least one."""
    begin = max(each.curve.spent for each in trainings) / FITTED_SPAN
    late = [(each, spaced([point for point in each.envelope if point.spent >= begin])) for each in trainings]
    kept = [(each, points) for each, points in late if points]
    lowest = min(point.order for _, points in kept for point in points)
    floor = KNOWN_PART * min(lowest, *(each.floor for each, _ in kept))
    rows = [
        (index, math.log(point.order - floor), math.log(each.flops_per_image), math.log(each.images(point.spent)))
        for index, (each, points) in enumerate(kept)
        for point in points
    ]
    training = np.array([row[0] for row in rows], dtype=np.intp)
    log_score, log_flops, log_images = np.array([row[1:] for row in rows]).T
    middle = LawScale(
        float(np.exp(log_flops.mean())), float(np.exp(log_images.mean())), float(np.exp(np.median(log_score))), floor
    )
    return Observations(
        tuple(each for each, _ in kept),
        middle,
        log_score - math.log(middle.score),
        log_flops - math.log(middle.flops_per_image),
        log_images - math.log(middle.images),
        training,
    )


def spaced(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Points that are a step apart at least, counted from the last one, which is always among them."""
    kept: list[CurvePoint] = []
    for point in reversed(points):
        if not kept or point.spent * MIN_STEP <= kept[-1].spent:
            kept.append(point)
    return kept[::-1]
