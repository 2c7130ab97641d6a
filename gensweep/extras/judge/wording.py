"""Judgements as JSON, rows, sentences and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from gensweep.extras.judge.judgements import Judgement, Rules, judgements
from gensweep.report.figures import Dot, Figure, Level, Line, Panel
from gensweep.report.wording import counted, format_amount, format_settings
from gensweep.results import Unit
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.recommendation import Recommendation


def judgement_json(judged: Judgement, rules: Rules) -> dict[str, Any]:
    """A judgement as `gensweep judge --format json` prints it; gains are shares of the base's mean score."""
    unit, cost = _pair_cost(judged)
    return {
        "decision": judged.decision,
        "base": judged.base.name,
        "candidate": judged.candidate.name,
        "error": judged.error,
        "failed": judged.failed,
        "cost": {"unit": unit, "used": cost * len(judged.looks), "another_pair": cost},
        "scores": [{"base": base, "candidate": candidate} for base, candidate in judged.scores],
        "looks": [asdict(each) for each in judged.looks],
        "rules": asdict(rules),
    }


def judgement_rows(judged: Judgement) -> list[dict[str, Any]]:
    """One row per pair: the scores, and the gain with its interval in percent."""
    return [
        {"pairs": each.pairs, "base": base, "candidate": candidate}
        | {f"{name} %": 100 * getattr(each, name) for name in ("gain", "low", "high")}
        for each, (base, candidate) in zip(judged.looks, judged.scores, strict=True)
    ]


def judgement_sentences(judged: Judgement, rules: Rules) -> Iterator[str]:
    """The decision with its reason, and what more seeds would cost."""
    params = judged.candidate.params
    names = f"{judged.candidate.name} ({format_settings(params, list(params)) or 'as the base'})"
    if judged.failed is not None and judged.decision == "discard":
        yield f"Discard: {names} failed: {judged.failed}"
        return
    if not judged.looks:
        yield f"Undecided: {names}: no pair of trainings has finished."
        return
    last, why = judged.looks[-1], ""
    if judged.decision == "discard" and last.high >= rules.min_gain:
        why = f"; a gain would show with a probability of {100 * last.chance:.0f} % after more seeds"
    interval = f" ({100 * last.low:.1f} to {100 * last.high:.1f})" if math.isfinite(last.low) else ""
    seeds = f"after {counted(last.pairs, 'pair')} of seeds"
    yield f"{judged.decision.capitalize()}: {names}: gain {100 * last.gain:.1f} %{interval} {seeds}{why}."
    unit, cost = _pair_cost(judged)
    used = format_amount(cost * last.pairs, unit)
    yield f"The trainings cost {used}; one more pair costs at most {format_amount(cost, unit)}."
    if judged.decision == "undecided" and last.needed is not None:
        yield f"If the gain stays, {last.needed} pairs would show it: --most-seeds {last.needed} --name NEW"


def report_part(comparison: Comparison, judged: Recommendation) -> str:
    """The section of a report about the judgements of its sweeps; "" without any."""
    parts = []
    for sweep in comparison.sweeps:
        if sweep.folder.exists and (found := sweep.folder.settings.get("judge")) is not None:
            rules = Rules(**found)
            for each in judgements(sweep.state, rules):
                words = " ".join(judgement_sentences(each, rules))
                figure = judgement_figure(each, rules)
                drawing = "".join(figure.svgs(f"judge-{each.candidate.trial}"))
                parts.append(Markup("<p>{} {}</p>\n{}").format(words, figure.caption, Markup(drawing)))
    return Markup("<h2>Judgements</h2>\n") + Markup("\n").join(parts) if parts else ""


def judgement_figure(judged: Judgement, rules: Rules) -> Figure:
    """The gain after each pair, with its interval."""
    known = [each for each in judged.looks if math.isfinite(each.low)]
    points = [(each.pairs, 100 * each.gain) for each in known]
    band = [(each.pairs, 100 * each.low, 100 * each.high) for each in known]
    dots = [Dot(0, *point, (f"{counted(int(point[0]), 'pair')}: {point[1]:.1f} %",)) for point in points]
    levels = [Level("smallest gain that matters", 100 * rules.min_gain)]
    ends = [Line(0, [(each[0], each[side]) for each in band], faint=True) for side in (1, 2)]
    panel = Panel("pairs of seeds", "gain in %", [Line(0, points, band=band), *ends], dots, levels)
    caption = "The gain after each pair, with an interval that holds at all looks together."
    return Figure(f"{judged.candidate.name} against {judged.base.name}", caption, [panel] if known else [])


def _pair_cost(judged: Judgement) -> tuple[Unit, float]:
    costs = judged.base.cost, judged.candidate.cost
    unit: Unit = "flops" if all(each.flops for each in costs) else "device_seconds"
    return unit, sum(getattr(each, unit) or 0.0 for each in costs)
