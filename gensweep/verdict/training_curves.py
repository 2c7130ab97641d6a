"""The curves of a comparison's trainings in a unit of compute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from gensweep.errors import ConfigError
from gensweep.results import Score, Unit

if TYPE_CHECKING:
    from gensweep.sweep.trial_state import TrialState
    from gensweep.verdict.comparison import Comparison, RankedTrial


#: A score that took this share more than a budget is within it: trainings end with whole batches, and seconds are
#: measured.
BUDGET_TOLERANCE = 0.02


@dataclass(frozen=True)
class CurvePoint:
    """A score after some compute; a smaller `order` is better, and `error` is its standard error, 0 if unknown."""

    spent: float
    order: float
    error: float = 0.0


@dataclass(frozen=True)
class FrontierPoint:
    """What a budget buys: the expected `best` score, and the ends of its 95 % interval where there is one."""

    budget: float
    best: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TrainingCurve:
    """The scores of one training, by what it had spent in the unit of the budget, in ascending order.

    Trainings of one `configuration` differ only in their `seed`.  The later scores of a training that was
    `stopped_early` are not known.  A training that `failed` bought nothing beyond its last score, and may have none.
    """

    group: str
    trial: str
    configuration: str
    points: tuple[CurvePoint, ...]
    stopped_early: bool = False
    failed: bool = False
    seed: int = 0

    @property
    def spent(self) -> float:
        """The cost of the whole training."""
        return self.points[-1].spent if self.points else 0.0

    def best_within(self, budget: float) -> CurvePoint | None:
        """The best point that a budget pays for: the score of a training that had ended there."""
        paid = (point for point in self.points if point.spent <= budget * (1 + BUDGET_TOLERANCE))
        return min(paid, key=lambda point: point.order, default=None)


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


#: The status of a training that had budget left.
CUT_SHORT = ("pruned", "stopped", "running", "paused", "waiting")
#: The units in which a budget may be given, the preferred one first.
UNITS: tuple[Unit, ...] = ("flops", "device_seconds", "images")


@dataclass(frozen=True)
class TrainedCurves:
    """The trainings of a comparison, with a curve each in a unit.

    `entries` are by trial name, that of a repeat is the trial that it repeats.  `uncounted` trials were only scored
    here, or their cost in this unit is not known.  `failed` are the curves of trainings that failed, until
    then.  Clones have no curve: each changed its settings during training, so it is not one configuration.
    """

    unit: Unit
    curves: tuple[TrainingCurve, ...]
    entries: Mapping[str, RankedTrial]
    uncounted: tuple[str, ...]
    failed: tuple[TrainingCurve, ...] = ()

    @cached_property
    def groups(self) -> dict[str, str]:
        """By trial name, the group of a training."""
        return {curve.trial: curve.group for curve in self.curves}

    @cached_property
    def costs(self) -> dict[str, tuple[float, float]]:
        """By trial name, the amount spent until its best evaluation, and in all."""
        best = {curve.trial: min(curve.points, key=lambda point: point.order) for curve in self.curves}
        return {curve.trial: (best[curve.trial].spent, curve.spent) for curve in self.curves}


def trained_curves(comparison: Comparison) -> list[TrainedCurves]:
    """The curves of all ranked trials in each unit, from evaluations of the comparison's identity.

    The unit in which most trainings are counted comes first; of several that of the sweeps' budgets, or of `UNITS`.
    """
    created = [sweep.state.created for sweep in comparison.sweeps]
    units = {None if each is None or not each.budget else each.unit for each in created}
    first = [unit for unit in units if unit is not None] if len(units) == 1 else []
    found = [_in_unit(comparison, each) for each in dict.fromkeys([*first, *UNITS])]
    return sorted((each for each in found if each.curves), key=lambda each: len(each.uncounted))


def _repeats(comparison: Comparison) -> dict[str, list[TrialState]]:
    """By the name of a ranked trial, the trials that train its configuration again with other seeds."""
    known = {entry.trial.name for entry in comparison.entries}
    found: dict[str, list[TrialState]] = {}
    for trial in (trial for sweep in comparison.sweeps for trial in sweep.trials):
        of = f"{trial.sweep}/{trial.repeat_of}"
        if of in known and trial.score is not None and trial.status != "failed":
            found.setdefault(of, []).append(trial)
    return found


def sampling_costs(trained: TrainedCurves, images: int) -> dict[str, float]:
    """By group, the cost of images of its best configuration.  Raises ConfigError if that is not known."""
    if trained.unit == "images":
        raise ConfigError(
            "--draw: drawing costs no training images; give --budget in flops or time, as 2e13flops or 8h"
        )
    costs: dict[str, float] = {}
    for curve in sorted(trained.curves, key=lambda each: min(point.order for point in each.points)):
        if curve.group not in costs:
            trial = trained.entries[curve.trial].trial
            cost = sampling_cost(trial, trained.unit)
            if cost is None:
                raise ConfigError(
                    f"--draw: what {trial.name} takes to draw an image is not on record in {trained.unit}; leave "
                    "--draw out, or give --budget in another unit"
                )
            costs[curve.group] = images * cost
    return costs


def sampling_cost(trial: TrialState, unit: Unit) -> float | None:
    """The cost of drawing an image, in a unit; None if it is not known, as in training images."""
    cost = trial.cost
    if unit == "flops":
        return cost.sample_flops
    if unit == "images" or not cost.sample_seconds or trial.score is None or trial.score.identity.extractor is None:
        return None  # a likelihood is that of real images
    devices = max(1, round((cost.device_seconds or 0) / (cost.train_seconds or math.inf)))
    return devices * cost.sample_seconds / trial.score.identity.samples


def _in_unit(comparison: Comparison, unit: Unit) -> TrainedCurves:
    curves, entries, uncounted, repeats = [], {}, [], _repeats(comparison)
    for group, members in comparison.groups.items():
        for entry in (each for each in members if not each.trial.lineage):
            original = entry.trial.name
            for trial in (entry.trial, *repeats.get(original, ())):
                points = () if trial.imported else _points(trial, comparison.score, unit)
                if points:
                    cut, seed = trial.status in CUT_SHORT, trial.at_best.config.get("seed", 0)
                    curves.append(TrainingCurve(group, trial.name, original, points, cut, seed=seed))
                    entries[trial.name] = entry
                else:
                    uncounted.append(trial.name)
    failed = []
    for trial in comparison.failed:
        # What could not even be configured was no training, and has no family.
        if trial.family and not trial.infrastructure_error and not trial.lineage:
            group, original = comparison.group_of(trial), f"{trial.sweep}/{trial.repeat_of or trial.trial}"
            points = _points(trial, comparison.score, unit)
            failed.append(TrainingCurve(group, trial.name, original, points, failed=True))
    return TrainedCurves(unit, tuple(curves), entries, tuple(uncounted), tuple(failed))


def _points(trial: TrialState, like: Score, unit: Unit) -> tuple[CurvePoint, ...]:
    points = []
    for evaluation in (each.evaluation for each in trial.evaluations.values()):
        score, cost = evaluation.scores.get(like.metric), evaluation.cost
        paid = {"images": evaluation.images, "flops": cost.flops, "device_seconds": cost.device_seconds}[unit]
        if score is not None and score.identity == like.identity and paid:
            points.append(CurvePoint(float(paid), score.order, score.error or 0.0))
    return tuple(sorted(points, key=lambda point: point.spent))
