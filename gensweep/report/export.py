"""Comparisons and trials as plain values: the stable JSON of `best` and `trials`, and table rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gensweep.metrics.titles import metric_title
from gensweep.report import wording
from gensweep.report.caveats import caveats, format_diversity, trial_warnings
from gensweep.report.commands import left_out_reasons, reproduce_command
from gensweep.report.verdict import format_best_score, format_verdict, money
from gensweep.results import family_name
from gensweep.verdict.comparison import varied_by_family
from gensweep.verdict.pareto import objective_front, pareto_rows

if TYPE_CHECKING:
    from gensweep.results import Score
    from gensweep.sweep.stored_sweeps import StoredSweep
    from gensweep.sweep.trial_state import TrialState
    from gensweep.verdict.comparison import Comparison, RankedTrial
    from gensweep.verdict.recommendation import Recommendation


def comparison_json(comparison: Comparison, judged: Recommendation) -> dict[str, Any]:
    """The object that `best --compare --format json` prints."""
    unit = None if judged.trained is None else judged.trained.unit
    return {
        "sweeps": [sweep.name for sweep in comparison.sweeps],
        "entries": [entry_json(entry) for entry in comparison.entries],
        "not_comparable": [asdict(item) for item in left_out_reasons(comparison)],
        "failed": [_names(trial) | {"error": trial.error} for trial in comparison.failed],
        "too_close": [
            _names(tie.trial) | {"difference": tie.difference, "interval": tie.interval, "paired": tie.paired}
            for tie in comparison.ties
        ],
        "rungs": [asdict(rung) for rung in comparison.rungs],
        "verdict": verdict_json(comparison, judged),
        "curves": [
            {"group": curve.group, "unit": unit, "points": [asdict(point) for point in curve.points]}
            for curve in judged.curves
        ],
        "pareto": [
            _names(row.entry.trial)
            | {"family": row.entry.trial.family, "score": row.entry.score.value}
            | {key: getattr(row, key) for key in ("unit", "training", "sampling", "params", "memory")}
            for row in pareto_rows(comparison, judged)
        ],
        **front_json(comparison),
    }


def verdict_json(comparison: Comparison, verdict: Recommendation) -> dict[str, Any]:
    """The key `verdict` of `best --compare --format json`."""
    budget, best, winner = verdict.budget, verdict.best_score, verdict.recommended.trial
    unit = None if budget is None else budget.unit
    return {
        "text": format_verdict(comparison, verdict),
        "budget": None if budget is None else {"unit": budget.unit, "value": budget.value},
        "draw": verdict.draw,
        "best_score": _names(best.trial) | {"family": best.trial.family, "value": best.score.value},
        "recommended": _names(winner) | {"family": winner.family},
        "reason": format_best_score(comparison, verdict),
        "score": {"value": verdict.score, "interval": verdict.interval},
        "group": verdict.group,
        "probability": verdict.probability,
        "too_close": verdict.too_close,
        "seeds": verdict.seeds,
        "tries": verdict.tries,
        "price": money(comparison, verdict),
        "second_look": second_look_json(verdict),
        "flips": [{"unit": unit} | asdict(flip) for flip in verdict.flips],
        **comparison.anchors.as_dict(),
        "warnings": list(caveats(comparison, verdict)),
    }


def second_look_json(verdict: Recommendation) -> dict[str, Any]:
    """The votes of the panel on the recommended trial and the runner-up."""
    look, other = verdict.second_look, verdict.runner_up
    return {
        "outcome": look.outcome,
        "runner_up": None if other is None else _names(other.trial),
        **{key: getattr(look, key) for key in ("kinds", "agreeing", "contesting")},
        "measures": [each._asdict() for each in look.differences],
    }


def best_json(comparison: Comparison, judged: Recommendation, config: Mapping[str, Any]) -> dict[str, Any]:
    """The object that `best SWEEP --format json` prints: the best score with its configuration."""
    best = comparison.best_score
    more = {"reproduce": reproduce_command(best.trial), "recommended": judged.recommended.trial.trial}
    return entry_json(best) | {"config": dict(config)} | more


def front_json(comparison: Comparison) -> dict[str, Any]:
    """Trials on the Pareto front of a sweep with several objectives; else none."""
    front = []
    for trial in (entry.trial for entry in objective_front(comparison)):
        more = {"objectives": trial.objective_values, "params": dict(trial.params)}
        front.append(_names(trial) | {"family": trial.family} | more)
    return {"objective_front": front}


def entry_json(entry: RankedTrial) -> dict[str, Any]:
    """One of the `entries` in `best --compare --format json`."""
    trial = entry.trial
    return {
        "rank": entry.rank,
        **_names(trial),
        "objective": score_json(entry.score),
        "rescored": None if trial.rescored is None else score_json(trial.rescored),
        "further_scores": [score_json(each) for each in trial.further_scores],
        "checkpoint": trial.checkpoint,
        **_trial_json(trial),
    }


def _trial_json(trial: TrialState) -> dict[str, Any]:
    return {
        "family": trial.family,
        "status": trial.status,
        "cost": asdict(trial.cost),
        "params": dict(trial.params),
        "objectives": trial.objective_values,
        "broken_limits": list(trial.broken_limits),
        "signals": dict(trial.signals),
        "warnings": trial_warnings(trial),
    }


def trials_json(sweep: StoredSweep) -> list[dict[str, Any]]:
    """The list that `trials SWEEP --format json` prints; `objective` is null without a score."""
    best = sweep.state.best
    return [
        {
            "trial": trial.trial,
            "best": trial is best,
            "repeat_of": trial.repeat_of,
            "objective": None if trial.score is None else trial.score.value,
            "identity": None if trial.score is None else trial.score.identity.as_dict(),
            "images": trial.cost.images,
            "error": trial.error,
            **_trial_json(trial),
        }
        for trial in sweep.trials
    ]


def score_json(value: Score) -> dict[str, Any]:
    """A score with its interval, identity and anchors."""
    return {
        "metric": value.metric,
        "value": value.value,
        "corrected": value.corrected,
        "interval": value.interval,
        "guessed": value.guessed,
        "identity": value.identity.as_dict(),
        **value.anchors.as_dict(),
    }


def comparison_rows(comparison: Comparison, judged: Recommendation, limit: int | None = None) -> list[dict[str, Any]]:
    """Table rows of `best --compare`, best first, with the cost until the best checkpoint and in total."""
    costs, unit = ({}, "images") if judged.trained is None else (judged.trained.costs, judged.trained.unit)
    intervals = any(entry.score.interval for entry in comparison.entries)
    return [
        {
            "#": entry.rank,
            "sweep": trial.sweep,
            "trial": trial.trial,
            "family": family_name(trial.family),
            comparison.title: entry.score.value,
            **({"without bias, 95 %": wording.format_interval(entry.score)} if intervals else {}),
            "diversity": format_diversity(trial.signals),
            "to best": wording.format_amount(to_best, unit),
            "whole": wording.format_amount(whole, unit),
            "train s": _rounded(trial.cost.train_seconds),
            "params": wording.count(trial.cost.params),
            "settings": wording.format_settings(trial.params, entry.differs),
        }
        for entry in comparison.entries[:limit]
        for trial in [entry.trial]
        for to_best, whole in [costs.get(trial.name, (None, None))]
    ]


def trial_rows(sweep: StoredSweep) -> list[dict[str, Any]]:
    """Table rows of `trials SWEEP`, ordered by trial name."""
    best, several = sweep.state.best, len({trial.family for trial in sweep.trials}) > 1
    differs = varied_by_family(sweep.trials)
    scores = [trial.score for trial in sweep.trials if trial.score is not None]
    title = metric_title(sweep.state.metric, scores[0].identity) if scores else sweep.state.metric
    return [
        {
            "trial": ("* " if trial is best else "") + trial.trial,
            "status": trial.status,
            **({"family": family_name(trial.family)} if several else {}),
            title: None if trial.score is None else trial.score.value,
            "diversity": format_diversity(trial.signals),
            "images": wording.count(trial.cost.images),
            "train s": _rounded(trial.cost.train_seconds),
            "params": wording.count(trial.cost.params),
            "memory/image": wording.size(trial.cost.activation_bytes),
            "settings": _failure(trial) or wording.format_settings(trial.params, differs[trial.name]),
        }
        for trial in sweep.trials
    ]


def trial_facts(entry: RankedTrial, title: str) -> dict[str, str]:
    """Details of one trial as label -> text."""
    trial, cost, again = entry.trial, entry.trial.cost, entry.trial.rescored
    unbiased = wording.format_interval(entry.score) or "not known"
    return {
        "run": trial.name,
        "family": family_name(trial.family),
        title: wording.score(entry.score.value),
        "without bias": f"{unbiased}. {wording.format_guess(entry.score)}".rstrip(". "),
        "on fresh seeds": "not scored again" if again is None else wording.format_rescored(again, entry.score),
        **({"further": "; ".join(map(wording.format_further, trial.further_scores))} if trial.further_scores else {}),
        "diversity": format_diversity(trial.signals),
        "measured as": wording.format_identity(entry.score.identity),
        "read beside": wording.format_anchors(entry.score.anchors, entry.score.identity.samples) or "not known",
        "cost": f"{wording.count(cost.images)} images, {wording.duration(cost.train_seconds)} training, "
        f"{wording.duration(cost.sample_seconds)} sampling, {wording.count(cost.params)} parameters, "
        f"{wording.size(cost.activation_bytes)} memory an image of the batch",
        **({"start": wording.format_weights(trial.initial_weights)} if trial.initial_weights else {}),
        "checkpoint": trial.checkpoint or "not kept",
        "reproduce": reproduce_command(trial),
    }


def _names(trial: TrialState) -> dict[str, Any]:
    return {"sweep": trial.sweep, "trial": trial.trial}


def _failure(trial: TrialState) -> str:
    """Why the trial failed or did not run."""
    return (trial.error or "").strip().partition("\n")[0] if trial.status in ("failed", "infeasible") else ""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1) if value < 10 else round(value)


def front_table(comparison: Comparison) -> list[dict[str, Any]]:
    """The Pareto front of the objectives as table rows."""
    return [
        {
            "on the front of the objectives": entry.trial.name,
            "family": family_name(entry.trial.family),
            comparison.title: entry.score.value,
            **{
                each.metric: wording.format_named(each.metric, entry.trial.objective_values[each.metric])
                for each in entry.trial.objectives[1:]
            },
            "settings": wording.format_settings(entry.trial.params, entry.differs),
        }
        for entry in objective_front(comparison)
    ]
