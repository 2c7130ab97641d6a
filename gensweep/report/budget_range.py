"""Budgets that trainings have in common, and what to say of those that they have not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gensweep.compute.amounts import Amount
from gensweep.compute.curves import BUDGET_TOLERANCE, TrainingCurve
from gensweep.compute.frontier import common_budgets, group_curves, reach
from gensweep.errors import ConfigError
from gensweep.results import Unit


def known_budget(budget: Amount | None, judged: Sequence[TrainingCurve], overheads: Mapping[str, float]) -> float:
    """The budget in the range that all groups have in common, beside the overheads; by default the largest.

    Raises ConfigError if it is beyond.
    """
    common = common_budgets(judged, overheads)
    assert common is not None
    low, high = common
    if budget is None:
        return high
    if low * (1 - BUDGET_TOLERANCE) <= budget.value <= high * (1 + BUDGET_TOLERANCE):
        return min(max(budget.value, low), high)
    first, last = (Amount(budget.unit, value) for value in common)
    ends = {name: reach(curves) for name, curves in group_curves(judged).items()}
    images = " with their images" if overheads else ""
    if budget.value > high:
        reached = _listed({name: Amount(budget.unit, end[1] + overheads.get(name, 0.0)) for name, end in ends.items()})
        raise ConfigError(
            f"--budget: {budget} is beyond what all were trained for ({reached}{images}); give at most {last}, or "
            "train longer: gensweep train --continue-from RUN --set training.images=N"
        )
    scored = _listed({name: Amount(budget.unit, end[0] + overheads.get(name, 0.0)) for name, end in ends.items()})
    raise ConfigError(
        f"--budget: {budget} is less than the first scores of all took ({scored}{images}); give at least "
        f"{first}, or search again with earlier scores (evaluation.at)"
    )


def no_common_budget(judged: Sequence[TrainingCurve], unit: Unit) -> str:
    """Why groups have no budget in common, and what to do."""
    ends = {name: reach(curves) for name, curves in group_curves(judged).items()}
    late = max(ends, key=lambda name: ends[name][0])
    short = min(ends, key=lambda name: ends[name][1])
    first, last = Amount(unit, ends[late][0]), Amount(unit, ends[short][1])
    return (
        f"in {unit} they have no budget in common: all of {late} have a score from {first} on, but {short} ended at "
        f"{last}; train {short} longer, or compare in another unit (--budget 60kimages, 10min, 2e13flops)"
    )


def _listed(amounts: Mapping[str, Amount]) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in amounts.items())
