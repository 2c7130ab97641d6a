"""The verdict at a budget, and its curves, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gensweep.report.verdict import verdict_words

if TYPE_CHECKING:
    from gensweep.compute.curves import FrontierPoint
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison


def verdict_json(comparison: Comparison, verdict: BudgetVerdict) -> dict[str, Any]:
    """The key `verdict` of `best --compare --format json`."""
    trial, budget = verdict.winner.trial, verdict.budget
    unit = None if budget is None else budget.unit
    return {
        "text": verdict_words(comparison, verdict),
        "budget": None if budget is None else {"unit": budget.unit, "value": budget.value},
        "draw": verdict.draw,
        "winner": {"family": trial.family, "sweep": trial.sweep, "trial": trial.trial, "run_id": trial.run_id},
        "score": {"value": verdict.score, "interval": verdict.interval},
        "group": verdict.group,
        "probability": verdict.probability,
        "too_close": verdict.too_close,
        "seeds": verdict.seeds,
        "tries": verdict.tries,
        "flips": [{"unit": unit} | asdict(flip) for flip in verdict.flips],
        **comparison.anchors.as_dict(),
        "warnings": list(verdict.warnings),
    }


def curves_json(verdict: BudgetVerdict) -> dict[str, list[dict[str, Any]]]:
    """The keys `curves`, of one training, and `search_curves`, of a whole search."""
    return {
        "curves": [_curve(verdict, curve.group, curve.points) for curve in verdict.curves],
        "search_curves": [_curve(verdict, group, points) for group, points in verdict.searches.items()],
    }


def _curve(verdict: BudgetVerdict, group: str, points: Sequence[FrontierPoint]) -> dict[str, Any]:
    unit = None if verdict.trained is None else verdict.trained.unit
    return {"group": group, "unit": unit, "points": [asdict(point) for point in points]}
