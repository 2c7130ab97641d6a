"""A plan for a larger budget as JSON, rows and sentences."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import Any

from markupsafe import Markup

from gensweep.config.prices import Price
from gensweep.errors import GensweepError
from gensweep.extras.plan.allocation import Allocation
from gensweep.extras.plan.backtest import HIDDEN_FACTOR, longest
from gensweep.extras.plan.forecast import INTERVAL_PART
from gensweep.extras.plan.scored_trainings import trainings_by_family, trial_of
from gensweep.extras.plan.spending import SpendingPlan, lawful_families
from gensweep.report.wording import count, format_probability, format_settings, rough
from gensweep.verdict.amounts import Amount
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.recommendation import SURE, Recommendation


def report_part(comparison: Comparison, judged: Recommendation) -> str:
    """The section of a report with the `gensweep plan` command; "" with too few trials."""
    with suppress(GensweepError):
        budget = HIDDEN_FACTOR * longest(lawful_families(trainings_by_family(comparison, "flops")))
        names = [sweep.name for sweep in comparison.sweeps]
        command = shlex.join(["gensweep", "plan", *names, "--budget", f"{budget:.2g}flops"])
        return Markup("<h2>What would more compute bring?</h2>\n<pre>{}</pre>").format(command)
    return ""


def plan_json(plan: SpendingPlan, budget: Amount, comparison: Comparison, price: Price | None) -> dict[str, Any]:
    """The plan as `gensweep plan --format json` prints it; untrusted recommendations and forecasts are null."""
    trusted, best = plan.trusted, plan.best
    trial = trial_of(comparison, best.members[0])
    params = trial.params
    settings = {**params, **({"network.width": best.width} if "network.width" in params else {})}
    money = {"price": _price(best, budget, comparison, price), "currency": price and price.currency}
    named = {"sweep": trial.sweep, "trial": trial.trial, "settings": settings, **money}
    others = [
        _option(each, comparison) | {"expected": each.forecast._asdict()} for each in plan.allocations[1:] if trusted
    ]
    return {
        "budget": {"unit": budget.unit, "value": budget.value},
        "metric": comparison.score.metric,
        "recommendation": _option(best, comparison) | named if trusted else None,
        "expected": best.forecast._asdict() if trusted else None,
        "probability": plan.probability if trusted else None,
        "others": others,
        "backtest": {
            "coverage": plan.backtest.coverage,
            "regret": plan.backtest.regret,
            "trusted": trusted,
            "trainings": plan.backtest.trainings,
            "recommended": plan.backtest.recommended,
            "hidden_above": plan.backtest.limit,
            "scores": [
                {"trial": each.trial, "budget": each.spent, "score": each.score, **each.forecast._asdict()}
                for each in plan.backtest.hidden
            ],
        },
        "problems": list(plan.problems),
        "warnings": list(plan.remarks),
    }


def plan_rows(plan: SpendingPlan, budget: Amount, comparison: Comparison, price: Price | None) -> list[dict[str, Any]]:
    """One row per family, the best first."""
    return [
        {
            "family": each.group,
            "width": each.width,
            "images": round(each.images),
            "flops": each.flops,
            **({} if price is None else {"price": _price(each, budget, comparison, price)}),
            "expected": each.forecast.value,
            "low": each.forecast.low,
            "high": each.forecast.high,
            "settings": each.members[0].curve.trial,
        }
        for each in plan.allocations
    ]


def plan_sentences(plan: SpendingPlan, budget: Amount, comparison: Comparison, price: Price | None) -> list[str]:
    """The recommendation in words."""
    best, forecast = plan.best, plan.best.forecast
    said = [
        f"With {budget}: {best.group} at width {best.width} for {count(best.images)} images; expected "
        f"{comparison.title} {rough(forecast.value)} ({rough(forecast.low)} to {rough(forecast.high)} at "
        f"{100 * INTERVAL_PART:.0f} %)."
    ]
    if price is not None:
        money = _price(best, budget, comparison, price)
        said.append(f"Price: {'unknown' if money is None else price.format_money(money)}, at {price} for each device.")
    if plan.allocations[1:] and plan.probability < SURE:
        other = plan.allocations[1]
        said.append(
            f"Too close to call: {best.group} is best with a probability of {format_probability(plan.probability)}; "
            f"{other.group} may reach {rough(other.forecast.value)}."
        )
    trial = trial_of(comparison, best.members[0])
    params = trial.params
    if settings := format_settings(params, [key for key in params if key != "network.width"]):
        said.append(f"Settings of {trial.name}: {settings}.")
    return said


def backtest_sentence(plan: SpendingPlan) -> str:
    """The result of the backtest in words."""
    found = plan.backtest
    if found.coverage is None or found.regret is None:
        return "Backtest: nothing to predict."
    behind = "best" if found.regret <= 0 else f"{100 * found.regret:.1f} % worse than the best one"
    return (
        f"Backtest: with the last factor of {HIDDEN_FACTOR:g} of compute hidden, {100 * INTERVAL_PART:.0f} % intervals "
        f"contained {100 * found.coverage:.0f} % of the scores of {found.trainings} trials; {found.recommended}, the "
        f"recommended one, scored {behind}."
    )


def _price(found: Allocation, budget: Amount, comparison: Comparison, price: Price | None) -> float | None:
    """Price of a training that uses the budget in seconds, or else trains as fast as its trial; None if unknown."""
    cost, seconds = trial_of(comparison, found.members[0]).cost, None
    if budget.unit == "device_seconds":
        seconds = budget.value
    elif found.flops and cost.device_seconds and cost.flops:
        seconds = found.flops * cost.device_seconds / cost.flops
    return None if price is None or seconds is None else price.of(seconds)


def _option(found: Allocation, comparison: Comparison) -> dict[str, Any]:
    trial = trial_of(comparison, found.members[0])
    return {
        "family": trial.family,
        "network": trial.config.get("network", {}).get("kind"),
        "width": found.width,
        "images": round(found.images),
        "flops": found.flops,
    }
