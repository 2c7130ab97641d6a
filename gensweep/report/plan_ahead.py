"""What the report says of a larger budget: the plan for four times the compute, where its backtest is trusted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gensweep.compute.amounts import Amount
from gensweep.compute.backtest import HIDDEN_FACTOR, longest
from gensweep.compute.spending import lawful_families, plan_spending
from gensweep.errors import GensweepError
from gensweep.report.family_trainings import trainings_by_family
from gensweep.report.spending_report import backtest_sentence, plan_sentences, plan_table, width_sentences

if TYPE_CHECKING:
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison

#: How many times what a training has spent is planned for: as far ahead as the backtest looks.
PLANNED_FACTOR = HIDDEN_FACTOR


@dataclass(frozen=True)
class PlanAhead:
    """The plan in words, with a row a family; or without rows why there is none."""

    sentences: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()
    command: str | None = None


def plan_ahead(comparison: Comparison, judged: BudgetVerdict) -> PlanAhead | None:
    """The plan for so many times the most that a training has spent, in the unit of the verdict.

    None where no training has its cost on record.  Takes a few seconds for each family.
    """
    if judged.budget is None or judged.trained is None:
        return None
    unit = judged.budget.unit
    try:
        families = trainings_by_family(comparison, unit)
        budget = Amount(unit, PLANNED_FACTOR * longest(lawful_families(families)))
        plan = plan_spending(families, budget.value, free_size=unit == "images")
    except GensweepError as error:
        return PlanAhead((f"No plan: {error}.",))
    if not plan.trusted:
        return PlanAhead((f"No plan for {budget} can be trusted: {'; '.join(plan.problems)}.",))
    names = [sweep.typed for sweep in comparison.sweeps]
    return PlanAhead(
        (*plan_sentences(plan, budget, comparison), backtest_sentence(plan), *width_sentences(plan)),
        tuple(plan_table(plan)),
        plan.remarks,
        shlex.join(["gensweep", "plan", *names, "--budget", str(budget), "--write", "next.yaml"]),
    )
