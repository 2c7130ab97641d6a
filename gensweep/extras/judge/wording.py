"""Judgements as JSON, rows, sentences and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from gensweep.config.tree import flatten
from gensweep.extras.judge.judgements import Judgement, judgements, rules_of
from gensweep.report.figures import Dot, Figure, Level, Line, Panel
from gensweep.report.wording import counted, format_amount, format_settings
from gensweep.results import Unit
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.recommendation import Recommendation


def judgement_json(judged: Judgement) -> dict[str, Any]:
    """A judgement as `gensweep judge --format json` prints it; gains are shares of the base's mean score."""
    unit, cost = _pair_cost(judged)
    return {
        "decision": judged.decision,
        "base": judged.base.name,
        "candidate": judged.candidate.name,
        "error": judged.error,
        "error_rate": judged.error_rate,
        "cost": {"unit": unit, "used": cost * len(judged.looks), "another_pair": cost},
        "scores": [{"base": base, "candidate": candidate} for base, candidate in judged.scores],
        "looks": [asdict(each) for each in judged.looks],
        "rules": asdict(judged.rules),
    }


def judgement_rows(judged: Judgement) -> list[dict[str, Any]]:
    """One row per pair: the scores, and the gain with its interval in percent."""
    return [
        {"pairs": each.pairs, "base": base, "candidate": candidate}
        | {f"{name} %": 100 * getattr(each, name) for name in ("gain", "low", "high")}
        for each, (base, candidate) in zip(judged.looks, judged.scores, strict=True)
    ]


def judgement_sentences(judged: Judgement) -> Iterator[str]:
    """The decision with its reason, and what more seeds would cost."""
    before, now = (dict(flatten(each.config)) for each in (judged.base, judged.candidate))
    changed = format_settings(now, [key for key in now if before.get(key) != now[key]]) or "as the base"
    names = f"{judged.decision.capitalize()}: {judged.candidate.name} ({changed})"
    if judged.error is not None and judged.decision == "discard":
        yield f"{names} failed: {judged.error}"
        return
    if not judged.looks:
        yield f"{names}: no pair of trainings has finished."
        return
    last, why = judged.looks[-1], ""
    if judged.decision == "discard" and last.high >= judged.rules.min_gain:
        why = f"; a gain would show with a probability of {100 * last.chance:.0f} % after more seeds"
    interval = f" ({100 * last.low:.1f} to {100 * last.high:.1f})" if math.isfinite(last.low) else ""
    yield f"{names}: gain {100 * last.gain:.1f} %{interval} after {counted(last.pairs, 'pair')} of seeds{why}."
    unit, cost = _pair_cost(judged)
    used = format_amount(cost * last.pairs, unit)
    yield f"The trainings cost {used}; one more pair costs at most {format_amount(cost, unit)}."


def report_part(comparison: Comparison, judged: Recommendation) -> str:
    """The section of a report about the judgements of its sweeps; "" without any."""
    parts = [Markup("<h2>Judgements</h2>")]
    for sweep in comparison.sweeps:
        if (rules := rules_of(sweep.folder)) is not None:
            for each in judgements(sweep.state, rules):
                drawing = "".join(judgement_figure(each).svgs(f"judge-{each.candidate.trial}"))
                parts.append(Markup("<p>{}</p>\n{}").format(" ".join(judgement_sentences(each)), Markup(drawing)))
    return Markup("\n").join(parts) if len(parts) > 1 else ""


def judgement_figure(judged: Judgement) -> Figure:
    """The gain after each pair, with its interval."""
    known = [each for each in judged.looks if math.isfinite(each.low)]
    points = [(each.pairs, 100 * each.gain) for each in known]
    band = [(each.pairs, 100 * each.low, 100 * each.high) for each in known]
    dots = [Dot(0, *point, (f"{counted(int(point[0]), 'pair')}: {point[1]:.1f} %",)) for point in points]
    levels = [Level("smallest gain that matters", 100 * judged.rules.min_gain)]
    panel = Panel("pairs of seeds", "gain in %", [Line(0, points, band=band)], dots, levels)
    return Figure(f"{judged.candidate.name} against {judged.base.name}", "", [panel] if known else [])


def _pair_cost(judged: Judgement) -> tuple[Unit, float]:
    costs = judged.base.cost, judged.candidate.cost
    unit: Unit = "flops" if all(each.flops for each in costs) else "device_seconds"
    return unit, sum(getattr(each, unit) or 0.0 for each in costs)
