"""Made-up trainings that follow a known law, or break it: what the predictions of laws are held against."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from gensweep.extras.plan.scored_trainings import Array, ScoredTraining
from gensweep.verdict.training_curves import CurvePoint, TrainingCurve

#: FLOPs of an image at width 1, about those of a small U-Net.
FLOPS_OF_WIDTH_1 = 2e5
#: By which power of the compute scores get worse, where they do: by a factor of 3.5 in the last 92 % of it.
WORSENING_EXPONENT = 0.5
#: The part of trainings that go on at a rung of successive halving, as in ASHA with a reduction of 2.
SURVIVORS = 0.5


@dataclass(frozen=True)
class KnownLaw:
    """Scores floor + size (w / 32)^-size_exponent + images (D / 10^5)^-images_exponent, and what trainings add to them.

    The score of `real` images comes on top, which is known and the same for all.  Effects of trainings, as those of a
    learning rate, have the standard deviation `trainings` as logarithms and a tail towards worse ones; `speeds` is that
    of the exponents of images; `noise` is that of each score.  Beyond `saturates` FLOPs scores become no better, as if
    a hidden cause set in.  Beyond `worsens` FLOPs scores get worse, as a GAN's may.
    """

    floor: float = 20.0
    size: float = 8.0
    size_exponent: float = 1.0
    images: float = 40.0
    images_exponent: float = 0.5
    trainings: float = 0.15
    speeds: float = 0.05
    noise: float = 0.03
    saturates: float = math.inf
    worsens: float = math.inf
    real: float = 0.0

    def scores(self, width: float, images: Array, effect: float = 0.0, speed: float = 0.0) -> Array:
        """The scores without noise of a training with these effects."""
        capped = np.minimum(images, self.saturates / flops_of(width))
        of_images = self.images * (capped / 1e5) ** (-self.images_exponent * math.exp(speed))
        above = self.floor + self.size * (width / 32) ** -self.size_exponent + of_images
        worse = np.maximum(images * flops_of(width) / self.worsens, 1.0) ** WORSENING_EXPONENT
        scores: Array = self.real + math.exp(effect) * above * worse
        return scores


@dataclass(frozen=True)
class MadeUpSweep:
    """How trainings are drawn: how many, their widths, what each may spend, how often it is evaluated, and stopped."""

    law: KnownLaw = field(default_factory=KnownLaw)
    trainings: int = 12
    widths: tuple[int, ...] = (16, 24, 32, 48)
    flops: float = 2e13
    evaluations: int = 24
    rungs: tuple[int, ...] = (3, 8)

    def draw(self, rng: np.random.Generator, group: str = "a") -> tuple[list[ScoredTraining], Array]:
        """The trainings, and the effect and the speed of each, (trainings, 2)."""
        found, effects = [], []
        for index in range(self.trainings):
            width = int(rng.choice(self.widths))
            effect = self.law.trainings * (1.3 * abs(rng.normal()) - 1.0)
            speed = self.law.speeds * rng.normal()
            spent = self.flops * np.arange(1, self.evaluations + 1) / self.evaluations
            scores = self.law.scores(width, spent / flops_of(width), effect, speed)
            noisy = scores * np.exp(self.law.noise * rng.normal(size=len(spent)))
            points = tuple(CurvePoint(float(x), float(y)) for x, y in zip(spent, noisy, strict=True))
            curve = TrainingCurve(group, f"{group}/t{index:04d}", f"{group}/t{index:04d}", points)
            found.append(ScoredTraining(curve, flops_of(width), flops_of(width), width, self.law.real))
            effects.append((effect, speed))
        return _halved(found, self.rungs), np.array(effects)


def flops_of(width: float) -> float:
    """FLOPs of an image at a width."""
    return FLOPS_OF_WIDTH_1 * width**2


def _halved(trainings: list[ScoredTraining], rungs: tuple[int, ...]) -> list[ScoredTraining]:
    """What successive halving leaves: at each rung, counted in evaluations, the worse half ends."""
    going, left = list(range(len(trainings))), list(trainings)
    for rung in rungs:
        going.sort(key=lambda index: trainings[index].envelope[rung - 1].order)
        kept = math.ceil(SURVIVORS * len(going))
        for index in going[kept:]:
            curve = trainings[index].curve
            shorter = TrainingCurve(curve.group, curve.trial, curve.configuration, curve.points[:rung], True)
            each = trainings[index]
            left[index] = replace(each, curve=shorter)
        going = going[:kept]
    return left
