"""Trained models that no other one beats in several things at once.

Of every comparison these are score, training, sampling, parameters and memory; of a sweep with several objectives
they are those, too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from gensweep.compute.pareto import pareto_front
from gensweep.families.spelling import family_name
from gensweep.report.training_curves import sampling_cost
from gensweep.report.wording import amount_words, count, named_amount, setting_words, size
from gensweep.results import Unit

if TYPE_CHECKING:
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.tracking.records import ObjectiveValue


@dataclass(frozen=True)
class ParetoRow:
    """A trained model: its score, and in a unit what it took to train until its best checkpoint.

    `sampling` is what an image takes to draw, in the same unit, or in floating point operations if that is images.
    `memory` is what the process took, or what a training step takes for an image, in bytes.
    """

    entry: RankedTrial
    unit: Unit
    training: float | None
    sampling: float | None
    params: int | None
    memory: int | None
    on_front: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        trial = self.entry.trial
        named = {"sweep": trial.sweep, "trial": trial.trial, "run_id": trial.run_id, "family": trial.family}
        costs = {name: value for name, value in asdict(self).items() if name not in ("entry", "on_front")}
        return named | {"score": self.entry.score.value} | costs


def priced_models(comparison: Comparison, verdict: BudgetVerdict) -> list[ParetoRow]:
    """All ranked trials that were trained here, the best score first, and whether they are on the front."""
    rows = [_row(entry, verdict) for entry in comparison.entries if not entry.trial.imported]
    columns = [(row.entry.score.order, row.training, row.sampling, row.params, row.memory) for row in rows]
    return [replace(row, on_front=on) for row, on in zip(rows, pareto_front(columns), strict=True)]


def pareto_rows(comparison: Comparison, verdict: BudgetVerdict) -> list[ParetoRow]:
    """The front among the ranked trials that were trained here, the best score first."""
    return [row for row in priced_models(comparison, verdict) if row.on_front]


def pareto_table(comparison: Comparison, verdict: BudgetVerdict) -> list[dict[str, Any]]:
    """The front as rows of a table for people."""
    return [
        {
            "on the Pareto front": comparison.name_of(row.entry.trial),
            "family": family_name(row.entry.trial.family),
            comparison.title: row.entry.score.value,
            "training": amount_words(row.training, row.unit),
            "an image": amount_words(row.sampling, sampling_unit(row.unit)),
            "params": count(row.params),
            "memory": size(row.memory),
        }
        for row in pareto_rows(comparison, verdict)
    ]


@dataclass(frozen=True)
class ObjectiveRow:
    """A trial of a sweep with several objectives, and what it has of each, the score first."""

    entry: RankedTrial
    objectives: tuple[ObjectiveValue, ...]
    on_front: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        trial, values = self.entry.trial, {each.metric: each.value for each in self.objectives}
        named = {"sweep": trial.sweep, "trial": trial.trial, "run_id": trial.run_id, "family": trial.family}
        return named | {"objectives": values, "params": dict(trial.params)}


def objective_rows(comparison: Comparison) -> list[ObjectiveRow]:
    """The ranked trials with the objectives of the best one that has several, the best score first."""
    wanted = next((names for entry in comparison.entries if (names := _metrics(entry))), ())
    having = [entry for entry in comparison.entries if wanted and _metrics(entry) == wanted]
    columns = [[each.value if each.mode == "min" else -each.value for each in e.trial.objectives] for e in having]
    return [
        ObjectiveRow(entry, entry.trial.objectives, on) for entry, on in zip(having, pareto_front(columns), strict=True)
    ]


def objective_front(comparison: Comparison) -> list[ObjectiveRow]:
    """Those of `objective_rows` that no other one beats in all objectives, the best score first."""
    return [row for row in objective_rows(comparison) if row.on_front]


def objective_table(comparison: Comparison) -> list[dict[str, Any]]:
    """The front of the objectives as rows of a table for people."""
    return [
        {
            "on the front of the objectives": comparison.name_of(row.entry.trial),
            "family": family_name(row.entry.trial.family),
            comparison.title: row.entry.score.value,
            **{each.metric: named_amount(each.metric, each.value) for each in row.objectives[1:]},
            "what differs": setting_words(row.entry.trial.params, row.entry.differs),
        }
        for row in objective_front(comparison)
    ]


def _metrics(entry: RankedTrial) -> tuple[str, ...]:
    return tuple(each.metric for each in entry.trial.objectives)


def _row(entry: RankedTrial, verdict: BudgetVerdict) -> ParetoRow:
    cost = entry.trial.cost
    unit: Unit = "images" if verdict.trained is None else verdict.trained.unit
    known = {} if verdict.trained is None else verdict.trained.costs
    training = known.get(entry.trial.run_id, (None, None))[0]
    sampling = sampling_cost(entry.trial, sampling_unit(unit))
    memory = cost.activation_bytes if cost.memory_bytes is None else cost.memory_bytes
    return ParetoRow(entry, unit, training, sampling, cost.params, memory)


def sampling_unit(unit: Unit) -> Unit:
    """Drawing images costs no training images."""
    return "flops" if unit == "images" else unit
