"""A plan for a larger budget as JSON, rows and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gensweep.compute.backtest import HIDDEN_FACTOR
from gensweep.compute.forecast import INTERVAL_PART
from gensweep.report.family_trainings import trial_of
from gensweep.report.wording import SURE, chance_words, count, rough, setting_words

if TYPE_CHECKING:
    from gensweep.compute.allocation import Allocation
    from gensweep.compute.amounts import Amount
    from gensweep.compute.forecast import ScoreForecast
    from gensweep.compute.spending import SpendingPlan
    from gensweep.report.comparison import Comparison
    from gensweep.tracking.records import TrialRecord


def plan_json(plan: SpendingPlan, budget: Amount, comparison: Comparison) -> dict[str, Any]:
    """Everything, as `gensweep plan --format json` prints it; without trust nothing is recommended or expected."""
    trusted = plan.trusted
    return {
        "budget": {"unit": budget.unit, "value": budget.value},
        "metric": comparison.score.metric,
        "recommendation": _recommendation(plan.best, comparison) if trusted else None,
        "expected": _forecast(plan.best.forecast) if trusted else None,
        "probability": plan.probability if trusted else None,
        "others": [_other(each, comparison) for each in plan.allocations[1:]] if trusted else [],
        "backtest": {
            "coverage": plan.backtest.coverage,
            "regret": plan.backtest.regret,
            "trusted": trusted,
            "trainings": plan.backtest.trainings,
            "recommended": plan.backtest.recommended,
            "hidden_above": plan.backtest.limit,
            "scores": [
                {"trial": each.trial, "budget": each.spent, "score": each.score, **_forecast(each.forecast)}
                for each in plan.backtest.hidden
            ],
            "widths": [
                _kind(trial_of(comparison, plan.planners[name].fitted.trainings[0]))
                | {"width": each.width, "coverage": each.coverage, "ratio": each.ratio, "trainings": len(each.hidden)}
                for name, each in plan.widths.items()
            ],
        },
        "problems": list(plan.problems),
        "warnings": list(plan.remarks),
        "frontier": [
            {
                "group": name,
                "unit": budget.unit,
                "points": [{"budget": p.budget, "width": p.width, **_forecast(p.forecast)} for p in points],
            }
            for name, points in plan.frontier.items()
        ]
        if trusted
        else [],
    }


def no_plan_json(problem: str, budget: Amount, comparison: Comparison) -> dict[str, Any]:
    """The same where there are too few trials for any law."""
    nothing = dict.fromkeys(("recommendation", "expected", "probability"))
    untested = dict.fromkeys(("coverage", "regret", "recommended", "hidden_above"))
    return {
        "budget": {"unit": budget.unit, "value": budget.value},
        "metric": comparison.score.metric,
        **nothing,
        "others": [],
        "backtest": {**untested, "trusted": False, "trainings": 0, "scores": [], "widths": []},
        "problems": [problem],
        "warnings": [],
        "frontier": [],
    }


def plan_rows(plan: SpendingPlan) -> list[dict[str, Any]]:
    """One row a family, the best first."""
    return [
        {
            "family": each.group,
            "width": each.width,
            "images": round(each.images),
            "flops": each.flops,
            "expected": each.forecast.value,
            "low": each.forecast.low,
            "high": each.forecast.high,
            "settings": each.members[0].curve.trial,
        }
        for each in plan.allocations
    ]


def plan_table(plan: SpendingPlan) -> list[dict[str, Any]]:
    """The same for people."""
    interval = f"{100 * INTERVAL_PART:.0f} %"
    return [
        {
            "family": row["family"],
            "width": row["width"],
            "images": count(row["images"]),
            "FLOPs": f"{row['flops']:.2g}",
            "expected": rough(row["expected"]),
            interval: f"{rough(row['low'])} to {rough(row['high'])}",
            "settings of": row["settings"],
        }
        for row in plan_rows(plan)
    ]


def plan_sentences(plan: SpendingPlan, budget: Amount, comparison: Comparison) -> list[str]:
    """The recommendation in words."""
    best, forecast = plan.best, plan.best.forecast
    said = [
        f"With {budget}: {best.group} at width {best.width} for {count(best.images)} images; expected "
        f"{comparison.title} {rough(forecast.value)} ({rough(forecast.low)} to {rough(forecast.high)} at "
        f"{100 * INTERVAL_PART:.0f} %)."
    ]
    if plan.allocations[1:] and plan.probability < SURE:
        other = plan.allocations[1]
        said.append(
            f"Too close to call: {best.group} is best with a probability of {chance_words(plan.probability)}; "
            f"{other.group} may reach {rough(other.forecast.value)}."
        )
    trial = trial_of(comparison, best.members[0])
    if settings := setting_words(trial.params, [key for key in trial.params if key != "network.width"]):
        said.append(f"Settings of {comparison.name_of(trial)}: {settings}.")
    return said


def backtest_sentence(plan: SpendingPlan) -> str:
    """What the backtest has found."""
    found = plan.backtest
    if found.coverage is None or found.regret is None:
        return "Backtest: nothing to predict."
    return (
        f"Backtest: with the last factor of {HIDDEN_FACTOR:g} of compute hidden, {100 * INTERVAL_PART:.0f} % intervals "
        f"held {100 * found.coverage:.0f} % of the scores of {found.trainings} trials; {found.recommended} would have "
        f"been taken, which scored {_behind(found.regret)}."
    )


def width_sentences(plan: SpendingPlan) -> list[str]:
    """What the backtests on the largest width have found."""
    return [
        f"With width {each.width} of {name} hidden, a law of the narrower ones held {100 * each.coverage:.0f} % of its "
        f"{len(each.hidden)} scores in 80 % intervals, and expected them {_off(each.ratio)}."
        for name, each in plan.widths.items()
    ]


def _off(ratio: float) -> str:
    """By how much an expectation was wrong."""
    return f"{100 * (ratio - 1):.0f} % too bad" if ratio >= 1 else f"{100 * (1 - ratio):.0f} % too good"


def _behind(regret: float) -> str:
    return "best" if regret <= 0 else f"{100 * regret:.1f} % worse than the best one"


def _recommendation(best: Allocation, comparison: Comparison) -> dict[str, Any]:
    trial = trial_of(comparison, best.members[0])
    return {
        **_kind(trial),
        "width": best.width,
        "images": round(best.images),
        "flops": best.flops,
        "sweep": trial.sweep,
        "trial": trial.trial,
        "settings": {**trial.params, **({"network.width": best.width} if "network.width" in trial.params else {})},
    }


def _other(each: Allocation, comparison: Comparison) -> dict[str, Any]:
    place = {"width": each.width, "images": round(each.images), "flops": each.flops}
    return _kind(trial_of(comparison, each.members[0])) | place | {"expected": _forecast(each.forecast)}


def _kind(trial: TrialRecord) -> dict[str, Any]:
    """What it trained."""
    return {"family": trial.family, "network": trial.config.get("network.kind")}


def _forecast(forecast: ScoreForecast) -> dict[str, float]:
    return {"value": forecast.value, "low": forecast.low, "high": forecast.high}
