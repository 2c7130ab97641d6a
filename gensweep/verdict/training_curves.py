"""Curves of a comparison's trainings in a unit of compute."""

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
    """A score after some compute; smaller `order` is better; `error` is its standard error, 0 if unknown."""

    spent: float
    order: float
    error: float = 0.0


@dataclass(frozen=True)
class FrontierPoint:
    """Expected `best` score at a budget, and the ends of its 95 % interval if known."""

    budget: float
    best: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TrainingCurve:
    """Scores of one training by compute spent, in the unit of the budget, in ascending order.

    Trainings of one `configuration` differ only in their `seed`.  A training that `stopped_early` has unknown later
    scores.  A training that `failed` has none after its last score, or none at all.
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
        """The best point within a budget."""
        paid = (point for point in self.points if point.spent <= budget * (1 + BUDGET_TOLERANCE))
        return min(paid, key=lambda point: point.order, default=None)


@dataclass(frozen=True)
class Scale:
    """Maps scores to a scale where differences are symmetric, and back; the order stays.

    `sign`, 1 or -1, is that of all scores, which map to logarithms; 0 for mixed signs, which stay as they are.
    """

    sign: int

    @classmethod
    def of(cls, scores: Float64[ndarray, "..."]) -> Scale:
        """A logarithmic scale if all scores have the same sign."""
        return cls(1 if (scores > 0).all() else -1 if (scores < 0).all() else 0)

    def forward(self, scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """From scores to the scale."""
        return self.sign * np.log(self.sign * scores) if self.sign else scores

    def back(self, values: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """From the scale to scores."""
        return self.sign * np.exp(self.sign * values) if self.sign else values

    def relative(self, deviations: Float64[ndarray, "..."], scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """Small deviations of scores, on the scale."""
        return np.asarray(deviations / self.size(scores))

    def size(self, scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
        """Change of scores per unit of the scale."""
        return np.abs(scores) if self.sign else np.ones_like(scores)


#: Status of a training that stopped before its end.
CUT_SHORT = ("pruned", "stopped", "running", "paused", "waiting")
#: Units of a budget, the preferred one first.
UNITS: tuple[Unit, ...] = ("flops", "device_seconds", "images")


@dataclass(frozen=True)
class TrainedCurves:
    """Trainings of a comparison, each with a curve in a unit.

    `entries` are by trial name; a repeat has the entry of the trial it repeats.  `uncounted` trials have no known cost
    in this unit, or were only scored here.  `failed` are curves of failed trainings, until they failed.
    """

    unit: Unit
    curves: tuple[TrainingCurve, ...]
    entries: Mapping[str, RankedTrial]
    uncounted: tuple[str, ...]
    failed: tuple[TrainingCurve, ...] = ()

    @cached_property
    def groups(self) -> dict[str, str]:
        """By trial name, the group of its training."""
        return {curve.trial: curve.group for curve in self.curves}

    @cached_property
    def costs(self) -> dict[str, tuple[float, float]]:
        """By trial name, the cost until its best evaluation, and in total."""
        best = {curve.trial: min(curve.points, key=lambda point: point.order) for curve in self.curves}
        return {curve.trial: (best[curve.trial].spent, curve.spent) for curve in self.curves}


def trained_curves(comparison: Comparison) -> list[TrainedCurves]:
    """Curves of all ranked trials in each unit, from evaluations with the comparison's identity.

    The unit with the most known costs comes first; among equals that of the sweeps' budgets, or of `UNITS`.
    """
    created = [sweep.state.created for sweep in comparison.sweeps]
    units = {None if each is None or not each.budget else each.unit for each in created}
    first = [unit for unit in units if unit is not None] if len(units) == 1 else []
    found = [_in_unit(comparison, each) for each in dict.fromkeys([*first, *UNITS])]
    return sorted((each for each in found if each.curves), key=lambda each: len(each.uncounted))


def _repeats(comparison: Comparison) -> dict[str, list[TrialState]]:
    """By name of a ranked trial, the trials that repeat it with other seeds."""
    known = {entry.trial.name for entry in comparison.entries}
    found: dict[str, list[TrialState]] = {}
    for trial in (trial for sweep in comparison.sweeps for trial in sweep.trials):
        of = f"{trial.sweep}/{trial.repeat_of}"
        if of in known and trial.score is not None and trial.status != "failed":
            found.setdefault(of, []).append(trial)
    return found


def sampling_costs(trained: TrainedCurves, images: int) -> dict[str, float]:
    """By group, the cost of images of its best configuration.  Raises ConfigError if it is unknown."""
    if trained.unit == "images":
        raise ConfigError(
            "--draw: sampling costs no training images; give --budget in flops or time, such as 2e13flops or 8h"
        )
    costs: dict[str, float] = {}
    for curve in sorted(trained.curves, key=lambda each: min(point.order for point in each.points)):
        if curve.group not in costs:
            trial = trained.entries[curve.trial].trial
            cost = sampling_cost(trial, trained.unit)
            if cost is None:
                raise ConfigError(
                    f"--draw: the cost per image of {trial.name} is not recorded in {trained.unit}; leave "
                    "--draw out, or give --budget in another unit"
                )
            costs[curve.group] = images * cost
    return costs


def sampling_cost(trial: TrialState, unit: Unit) -> float | None:
    """Cost of sampling one image, in a unit; None if unknown, such as in training images."""
    cost = trial.cost
    if unit == "flops":
        return cost.sample_flops
    if unit == "images" or not cost.sample_seconds or trial.score is None or trial.score.identity.extractor is None:
        return None  # a likelihood needs no generated images
    devices = max(1, round((cost.device_seconds or 0) / (cost.train_seconds or math.inf)))
    return devices * cost.sample_seconds / trial.score.identity.samples


def _in_unit(comparison: Comparison, unit: Unit) -> TrainedCurves:
    curves, entries, uncounted, repeats = [], {}, [], _repeats(comparison)
    for group, members in comparison.groups.items():
        for entry in members:
            original = entry.trial.name
            for trial in (entry.trial, *repeats.get(original, ())):
                points = () if trial.imported else _points(trial, comparison.score, unit)
                if points:
                    cut, seed = trial.status in CUT_SHORT, trial.config.get("seed", 0)
                    curves.append(TrainingCurve(group, trial.name, original, points, cut, seed=seed))
                    entries[trial.name] = entry
                else:
                    uncounted.append(trial.name)
    failed = []
    for trial in comparison.failed:
        # A trial that failed before its configuration was complete has no family.
        if trial.family and not trial.infrastructure_error:
            group, original = comparison.group_of(trial), f"{trial.sweep}/{trial.repeat_of or trial.trial}"
            points = _points(trial, comparison.score, unit)
            failed.append(TrainingCurve(group, trial.name, original, points, failed=True))
    return TrainedCurves(unit, tuple(curves), entries, tuple(uncounted), tuple(failed))


def _points(trial: TrialState, like: Score, unit: Unit) -> tuple[CurvePoint, ...]:
    """Scores by compute, including that of the weights that training started from, if known."""
    points, before = [], (trial.initial_weights or {}).get(f"base_{unit}") or 0.0
    for evaluation in (each.evaluation for each in trial.evaluations.values()):
        score, cost = evaluation.scores.get(like.metric), evaluation.cost
        paid = {"images": evaluation.images, "flops": cost.flops, "device_seconds": cost.device_seconds}[unit]
        if score is not None and score.identity == like.identity and paid:
            points.append(CurvePoint(before + float(paid), score.order, score.error or 0.0))
    return tuple(sorted(points, key=lambda point: point.spent))
