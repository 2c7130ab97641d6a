"""Trainings to which a law is fitted, and the scores that are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.results import Unit, family_name
from gensweep.sweep.trial_state import TrialState
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.training_curves import CurvePoint, TrainingCurve, trained_curves

Array: TypeAlias = npt.NDArray[np.float64]

#: A score at less than so many times more compute than the last one is passed over: best-so-far scores that are near
#: each other share their errors, and would make a law look surer than it is.
MIN_STEP = 1.2
#: Scores at less than the largest compute over this are passed over: the first steps follow no power law.
FITTED_SPAN = 64.0
#: Lowest expected score, as a share of the score of the same number of real images and of the best score seen.
#: Held-out images are not training images, and less diverse ones have less bias: 28.0 was seen where they score 30.6.
KNOWN_PART = 0.8


@dataclass(frozen=True)
class ScoredTraining:
    """A training: its curve over the compute that it spent, in one unit, and its cost of an image.

    `unit_cost` is the cost per image in that unit.  `width` is its network's; `floor` is the score of the same number
    of held-out real images, 0 if unknown.
    """

    curve: TrainingCurve
    flops_per_image: float
    unit_cost: float
    width: int
    floor: float = 0.0

    @property
    def envelope(self) -> tuple[CurvePoint, ...]:
        """The best score so far at each point: its model's score if it had ended there."""
        best = accumulate((point.order for point in self.curve.points), min)
        return tuple(replace(point, order=order) for point, order in zip(self.curve.points, best, strict=True))

    def within(self, amount: float) -> ScoredTraining:
        """The part of it that an amount pays for; it may have no points."""
        points = tuple(point for point in self.curve.points if point.spent <= amount * (1 + 1e-9))
        return replace(self, curve=replace(self.curve, points=points))

    def images(self, spent: float) -> float:
        """Training images for that much of the unit."""
        return spent / self.unit_cost


def trainings_by_family(comparison: Comparison, unit: Unit) -> dict[str, list[ScoredTraining]]:
    """The trainings of each family with curves in that unit; where a family has several networks, of each of them.

    Raises ConfigError for scores that no such law fits, NothingToCompareError if no cost is recorded.
    """
    if comparison.score.order != comparison.score.value:
        raise ConfigError(
            f"a higher {comparison.title} is better, but a law needs scores that fall towards a floor; "
            "name sweeps whose objective is fd, kid or bpd"
        )
    trained, real = {each.unit: each for each in trained_curves(comparison)}, comparison.anchors.floor
    # Fewer real images than generated ones have more bias, and models may score less.
    as_many = real is not None and real.images == comparison.score.identity.samples
    floor = max(0.0, real.value) if real is not None and as_many else 0.0
    ends = {name: {curve.trial: curve.spent for curve in each.curves} for name, each in trained.items()}
    found: dict[tuple[str, str], list[ScoredTraining]] = {}
    for curve in trained[unit].curves if unit in trained else ():
        trial = trained[unit].entries[curve.trial].trial
        if any(point.order <= 0 for point in curve.points):
            raise ConfigError(
                f"{trial.name} has a {comparison.title} that is not above 0, so no power law fits; name "
                "sweeps whose objective is fd"
            )
        flops, images = (ends.get(name, {}).get(curve.trial) for name in ("flops", "images"))
        network = trial.config.get("network", {})
        width = network.get("width")
        if images and flops and isinstance(width, int):
            family = found.setdefault((trial.family, network.get("kind", "")), [])
            seed = sum(each.curve.configuration == curve.configuration for each in family)
            named = replace(curve, trial=trial.name + (f" (repeat {seed})" if seed else ""))
            family.append(ScoredTraining(named, flops / images, curve.spent / images, width, floor))
    if not found:
        raise NothingToCompareError(
            f"none of {len(comparison.entries)} scored trials has a recorded {unit}, FLOPs and network width; "
            f"a plan needs trials that were trained here: gensweep trials {comparison.sweeps[0].name}"
        )
    families = [family for family, _ in found]
    return {
        family_name(family) + (f" ({network})" if families.count(family) > 1 else ""): trainings
        for (family, network), trainings in found.items()
    }


def trial_of(comparison: Comparison, training: ScoredTraining) -> TrialState:
    """The ranked trial with the configuration of a training."""
    return next(entry.trial for entry in comparison.entries if entry.trial.name == training.curve.configuration)


class LawScale(NamedTuple):
    """The units in which a law is written: FLOPs an image, images, and score above the known `floor` F."""

    flops_per_image: float
    images: float
    score: float
    floor: float


@dataclass(frozen=True)
class Observations:
    """The scores of trainings of one family above the known floor, over points, in units of `scale`, logarithmic.

    `training` is the index of each point's training in `trainings`, each of which has a point.
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
    training, log_score, log_flops, log_images = np.array(rows).T
    middles = log_flops.mean(), log_images.mean(), np.median(log_score)
    flops, images, score = map(float, np.exp(middles))
    return Observations(
        tuple(each for each, _ in kept),
        LawScale(flops, images, score, floor),
        log_score - middles[2],
        log_flops - middles[0],
        log_images - middles[1],
        training.astype(np.intp),
    )


def spaced(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Points that are a step apart at least, counted from the last one, which is always among them."""
    kept: list[CurvePoint] = []
    for point in reversed(points):
        if not kept or point.spent * MIN_STEP <= kept[-1].spent:
            kept.append(point)
    return kept[::-1]
