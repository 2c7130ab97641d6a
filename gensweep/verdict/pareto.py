"""Pareto fronts: models that no other one beats in score, costs and size, or in all objectives of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gensweep.fronts import pareto_front
from gensweep.results import Unit, order_of
from gensweep.verdict.training_curves import sampling_cost

if TYPE_CHECKING:
    from gensweep.verdict.comparison import Comparison, RankedTrial
    from gensweep.verdict.recommendation import Recommendation


@dataclass(frozen=True)
class ParetoRow:
    """A trained model and the cost of training it until its best evaluation.

    `sampling` is the cost per image, in the same unit or in FLOPs.  `memory` is in bytes, of the process or of a
    training step per image.
    """

    entry: RankedTrial
    unit: Unit
    training: float | None
    sampling: float | None
    params: int | None
    memory: int | None
    on_front: bool = False


def priced_models(comparison: Comparison, verdict: Recommendation) -> list[ParetoRow]:
    """All ranked trials that were trained here, best score first, and True if on the front."""
    unit: Unit = "images" if verdict.trained is None else verdict.trained.unit
    training = {} if verdict.trained is None else verdict.trained.costs
    rows = []
    for entry in (each for each in comparison.entries if not each.trial.imported):
        cost, (to_best, _) = entry.trial.cost, training.get(entry.trial.name, (None, None))
        drawing = sampling_cost(entry.trial, sampling_unit(unit))
        memory = cost.activation_bytes if cost.memory_bytes is None else cost.memory_bytes
        rows.append(ParetoRow(entry, unit, to_best, drawing, cost.params, memory))
    columns = [(row.entry.score.order, row.training, row.sampling, row.params, row.memory) for row in rows]
    return [replace(row, on_front=on) for row, on in zip(rows, pareto_front(columns), strict=True)]


def pareto_rows(comparison: Comparison, verdict: Recommendation) -> list[ParetoRow]:
    """The front among ranked trials that were trained here, best score first."""
    return [row for row in priced_models(comparison, verdict) if row.on_front]


def objective_rows(comparison: Comparison) -> list[tuple[RankedTrial, bool]]:
    """Ranked trials with the best trial's objectives, best first; True if on the front."""
    several = [entry for entry in comparison.entries if entry.trial.objective_values]
    having = [entry for entry in several if entry.trial.objectives == several[0].trial.objectives]
    columns = [
        [order_of(entry.trial.objective_values[each.metric], each.mode) for each in entry.trial.objectives]
        for entry in having
    ]
    return list(zip(having, pareto_front(columns), strict=True))


def objective_front(comparison: Comparison) -> list[RankedTrial]:
    """Trials on the front of a sweep with several objectives; else none."""
    return [entry for entry, on_front in objective_rows(comparison) if on_front]


def sampling_unit(unit: Unit) -> Unit:
    """Sampling needs no training images."""
    return "flops" if unit == "images" else unit
