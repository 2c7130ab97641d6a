"""The curves of a comparison's trainings in a unit of compute."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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
CUT_SHORT = ("pruned", "stopped", "running", "paused", "waiting")
#: The units in which a budget may be given, the one that is preferred first.
UNITS: tuple[Unit, ...] = ("flops", "device_seconds", "images")


@dataclass(frozen=True)
class TrainedCurves:
    """The trainings of a comparison, with a curve each in a unit; `entries` are by run id, which is the
    name of the curve; that of a repeat is the trial that it repeats.

    `uncounted` are names of trials that have no curve, as those that were only scored here, or whose cost in this unit
    is not known.  `failed` are the curves of trainings that failed, which are not ranked, as far as they got.
    """

    unit: Unit
    curves: tuple[TrainingCurve, ...]
    entries: Mapping[str, RankedTrial]
    uncounted: tuple[str, ...]
    failed: tuple[TrainingCurve, ...] = ()

    @property
    def attempts(self) -> tuple[TrainingCurve, ...]:
        """All trainings, those that failed last."""
        return self.curves + self.failed

    @cached_property
    def groups(self) -> dict[str, str]:
        """By run id, the group of a training."""
        return {curve.trial: curve.group for curve in self.curves}

    @cached_property
    def costs(self) -> dict[str, tuple[float, float]]:
        """By run id, what a training spent until its best checkpoint, and in all."""
        return {
            curve.trial: (min(curve.points, key=lambda point: point.order).spent, curve.spent) for curve in self.curves
        }


def trained_curves(comparison: Comparison) -> list[TrainedCurves]:
    """The curves of all ranked trials in each unit, in the order of groups and ranks.

    Only evaluations of the comparison's identity count.  The best unit comes first: that in which most trainings are
    counted, and of several that of the budgets of the sweeps, or else that of `UNITS`.
    """
    repeats = _repeats(comparison)
    trials = [entry.trial for entry in comparison.entries]
    others = [*(trial for found in repeats.values() for trial in found), *comparison.failed]
    evaluations = evaluations_of([*trials, *others])
    units = dict.fromkeys([*_unit_of_sweeps(comparison), *UNITS])
    found = [_in_unit(comparison, repeats, evaluations, each) for each in units]
    return sorted((each for each in found if each.curves), key=lambda each: len(each.uncounted))


def _repeats(comparison: Comparison) -> dict[str, list[TrialRecord]]:
    """By run id of a ranked trial, those that train its configuration again with other seeds."""
    known = {_key(entry.trial, entry.trial.trial): entry.trial.run_id for entry in comparison.entries}
    found: dict[str, list[TrialRecord]] = {}
    for trial in (trial for sweep in comparison.sweeps for trial in sweep.trials):
        of = None if trial.repeat_of is None else known.get(_key(trial, trial.repeat_of))
        if of is not None and trial.objective is not None and trial.status != "failed":
            found.setdefault(of, []).append(trial)
    return found


def _key(trial: TrialRecord, name: str) -> tuple[str, str, str]:
    return trial.sweep_id, trial.sweep, name


def spent(cost: Cost, images: int, unit: Unit) -> float | None:
    """What a training had spent at an evaluation."""
    if unit == "images":
        return float(images)
    if unit == "flops":
        return cost.flops
    # Before the cost of scoring was counted apart, it was part of the seconds of all devices.
    return cost.train_seconds if cost.scoring_device_seconds is None else cost.device_seconds


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
    drawn, seconds = _drawn(trial), trial.cost.sample_seconds
    return _devices(trial.cost) * seconds / drawn if unit == "device_seconds" and seconds and drawn else None


def _drawn(trial: TrialRecord) -> int | None:
    """How many images were drawn for a score; a likelihood counts real ones, beside which others are drawn."""
    if trial.objective is None:
        return None
    identity = trial.objective.identity
    if identity.timesteps is None:
        return identity.samples
    if (samples := trial.config.get("evaluation.samples")) is None:
        return None
    from gensweep.training.settings import drawn_unscored  # imports torch

    alone = json.loads(trial.config.get("evaluation.metrics", "[]")) == [identity.metric]
    return drawn_unscored(int(samples)) if alone else int(samples)


def _seed(trial: TrialRecord) -> int:
    return int(trial.config.get("seed", 0))


def _devices(cost: Cost) -> int:
    """On how many devices a training ran."""
    if cost.scoring_device_seconds is None or not cost.train_seconds or not cost.device_seconds:
        return 1
    return max(1, round(cost.device_seconds / cost.train_seconds))


def _unit_of_sweeps(comparison: Comparison) -> list[Unit]:
    """The unit of the budgets, if all sweeps have the same."""
    units = {sweep.unit for sweep in comparison.sweeps if sweep.budget is not None}
    return list(units) if len(units) == 1 and all(sweep.budget for sweep in comparison.sweeps) else []


def _in_unit(
    comparison: Comparison,
    repeats: Mapping[str, Sequence[TrialRecord]],
    evaluations: Mapping[str, Iterable[Evaluation]],
    unit: Unit,
) -> TrainedCurves:
    curves, entries, uncounted = [], {}, []
    for group, members in comparison.groups.items():
        for entry in members:
            original = entry.trial.run_id
            for trial in (entry.trial, *repeats.get(original, ())):
                points = () if trial.imported else _points(evaluations[trial.run_id], comparison.score, unit)
                if points:
                    cut = trial.status in CUT_SHORT
                    curves.append(TrainingCurve(group, trial.run_id, original, points, cut, seed=_seed(trial)))
                    entries[trial.run_id] = entry
                else:
                    uncounted.append(comparison.name_of(trial))
    failed = _failed(comparison, evaluations, unit)
    return TrainedCurves(unit, tuple(curves), entries, tuple(uncounted), failed)


def _failed(
    comparison: Comparison, evaluations: Mapping[str, Iterable[Evaluation]], unit: Unit
) -> tuple[TrainingCurve, ...]:
    """The curves of trainings that failed by themselves, in groups that are compared."""
    runs = {_key(trial, trial.trial): trial.run_id for sweep in comparison.sweeps for trial in sweep.trials}
    found = []
    for trial in comparison.failed:
        # What could not even be configured was no training, and has no family.
        if trial.family and not trial.outside:
            configuration = runs.get(_key(trial, trial.repeat_of or trial.trial), trial.run_id)
            points = _points(evaluations.get(trial.run_id, ()), comparison.score, unit)
            group = comparison.group_of(trial)
            found.append(TrainingCurve(group, trial.run_id, configuration, points, failed=True))
    return tuple(found)


def _points(evaluations: Iterable[Evaluation], like: Score, unit: Unit) -> tuple[CurvePoint, ...]:
    points = []
    for evaluation in evaluations:
        score, paid = evaluation.scores.get(like.metric), spent(evaluation.cost, evaluation.images, unit)
        if score is not None and score.identity == like.identity and paid:
            points.append(CurvePoint(paid, score.order, score.error or 0.0))
    return tuple(sorted(points, key=lambda point: point.spent))
