"""The curves of a comparison's trainings in a unit of compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gensweep.compute.curves import CurvePoint, TrainingCurve
from gensweep.errors import ConfigError
from gensweep.results import Cost, Evaluation, Score, Unit
from gensweep.tracking.evaluations import evaluations_of

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.tracking.records import TrialRecord

#: How a training ended that would have gone on.
CUT_SHORT = ("pruned", "stopped", "running")
#: The units in which a budget may be given, the one that is preferred first.
UNITS: tuple[Unit, ...] = ("flops", "device_seconds", "images")


@dataclass(frozen=True)
class TrainedCurves:
    """The trainings of a comparison, with a curve each in a unit; `entries` are by run id, which is the
    name of the curve.

    `uncounted` are names of trials that have no curve, as those that were only scored here, or whose cost in this unit
    is not known.
    """

    unit: Unit
    curves: tuple[TrainingCurve, ...]
    entries: Mapping[str, RankedTrial]
    uncounted: tuple[str, ...]

    @cached_property
    def costs(self) -> dict[str, tuple[float, float]]:
        """By run id, what a training spent until its best checkpoint, and in all."""
        return {
            curve.trial: (min(curve.points, key=lambda point: point.order).spent, curve.spent) for curve in self.curves
        }


def trained_curves(comparison: Comparison, unit: Unit | None = None) -> list[TrainedCurves]:
    """The curves of all ranked trials in a unit, in the order of groups and ranks.

    Only evaluations of the comparison's identity count.  Without a unit, those in all units, the best one first: that
    in which most trainings are counted, and of several that of the budgets of the sweeps, or else that of `UNITS`.
    """
    evaluations = evaluations_of(entry.trial for entry in comparison.entries)
    units = [unit] if unit is not None else list(dict.fromkeys([*_units_of_sweeps(comparison), *UNITS]))
    found = [_in_unit(comparison, evaluations, each) for each in units]
    return sorted((each for each in found if each.curves), key=lambda each: len(each.uncounted))


def spent(cost: Cost, images: int, unit: Unit) -> float | None:
    """What a training had spent at an evaluation."""
    return float(images) if unit == "images" else cost.flops if unit == "flops" else cost.train_seconds


def sampling_costs(trained: TrainedCurves, images: int) -> dict[str, float]:
    """By group, what its best configuration takes to draw images, in the unit of the curves.

    Raises ConfigError if that is not known.
    """
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


def sampling_cost(trial: TrialRecord, unit: Unit) -> float | None:
    """What an image takes to draw, in a unit; None if it is not known, as for training images."""
    if unit == "flops":
        return trial.cost.sample_flops
    drawn = None if trial.objective is None else trial.objective.identity.samples
    seconds = trial.cost.sample_seconds
    return seconds / drawn if unit == "device_seconds" and seconds and drawn else None


def _units_of_sweeps(comparison: Comparison) -> list[Unit]:
    return []


def _in_unit(comparison: Comparison, evaluations: Mapping[str, Iterable[Evaluation]], unit: Unit) -> TrainedCurves:
    curves, entries, uncounted = [], {}, []
    for group, members in comparison.groups.items():
        for entry in members:
            trial = entry.trial
            points = () if trial.imported else _points(evaluations[trial.run_id], comparison.score, unit)
            if points:
                cut = trial.status in CUT_SHORT
                curves.append(TrainingCurve(group, trial.run_id, _configuration(trial), points, cut))
                entries[trial.run_id] = entry
            else:
                uncounted.append(trial.name)
    return TrainedCurves(unit, tuple(curves), entries, tuple(uncounted))


def _configuration(trial: TrialRecord) -> str:
    return f"{trial.sweep_id or trial.sweep}/{trial.trial}"


def _points(evaluations: Iterable[Evaluation], like: Score, unit: Unit) -> tuple[CurvePoint, ...]:
    points = []
    for evaluation in evaluations:
        score, paid = evaluation.scores.get(like.metric), spent(evaluation.cost, evaluation.images, unit)
        if score is not None and score.identity == like.identity and paid:
            points.append(CurvePoint(paid, score.order, score.error or 0.0))
    return tuple(sorted(points, key=lambda point: point.spent))
