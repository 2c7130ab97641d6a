"""Comparisons and trials as plain values: the stable JSON of `best` and `trials`, and rows for tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gensweep.families.spelling import family_name
from gensweep.report.collapse import diversity_words, trial_warnings
from gensweep.report.commands import reproduce_command
from gensweep.report.pareto_table import objective_front, pareto_rows
from gensweep.report.ranked_trials import varied_by_family
from gensweep.report.verdict_json import curves_json, verdict_json
from gensweep.report.wording import (
    amount_words,
    anchor_words,
    count,
    counted,
    duration,
    further_words,
    guess_words,
    identity_words,
    interval_words,
    lineage_words,
    metric_title,
    score,
    setting_words,
    size,
)

if TYPE_CHECKING:
    from gensweep.report.budget_verdict import BudgetVerdict
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.results import Score
    from gensweep.tracking.records import SweepRecord, TrialRecord


def comparison_json(comparison: Comparison, judged: BudgetVerdict) -> dict[str, Any]:
    """The object that `best --compare --format json` prints."""
    return {
        "sweeps": [sweep.name for sweep in comparison.sweeps],
        "entries": [entry_json(entry) for entry in comparison.entries],
        "not_comparable": [asdict(item) for item in comparison.not_comparable],
        "failed": [_names(trial) | {"error": trial.error} for trial in comparison.failed],
        "too_close": [
            _names(tie.trial) | {"difference": tie.difference, "interval": tie.interval, "paired": tie.paired}
            for tie in comparison.ties
        ],
        "rungs": [asdict(rung) for rung in comparison.rungs],
        "verdict": verdict_json(comparison, judged),
        **curves_json(judged),
        "pareto": [row.as_dict() for row in pareto_rows(comparison, judged)],
        **front_json(comparison),
    }


def best_json(entry: RankedTrial, config: Mapping[str, Any]) -> dict[str, Any]:
    """The object that `best SWEEP --format json` prints: an entry with its configuration."""
    return entry_json(entry) | {"config": dict(config), "reproduce": reproduce_command(entry.trial)}


def front_json(comparison: Comparison) -> dict[str, Any]:
    """The trials on the front of a sweep's objectives; none if it has one objective."""
    return {"objective_front": [row.as_dict() for row in objective_front(comparison)]}


def entry_json(entry: RankedTrial) -> dict[str, Any]:
    """One element of the entries that `best --compare --format json` prints."""
    trial = entry.trial
    return {
        "rank": entry.rank,
        **_names(trial),
        "family": trial.family,
        "objective": score_json(entry.score),
        "rescored": None if trial.rescored is None else score_json(trial.rescored),
        "further_scores": [score_json(each) for each in trial.further_scores],
        "cost": asdict(trial.cost),
        "params": dict(trial.params),
        "checkpoint": trial.checkpoint,
        "status": trial.status,
        **_limits_json(trial),
        **_lineage_json(trial),
        **_signals_json(trial),
    }


def trial_json(trial: TrialRecord) -> dict[str, Any]:
    """One element of the list that `trials SWEEP --format json` prints; without a score, `objective` is null."""
    return {
        "trial": trial.trial,
        "run_id": trial.run_id,
        "family": trial.family,
        "status": trial.status,
        "repeat_of": trial.repeat_of,
        **_lineage_json(trial),
        "objective": None if trial.objective is None else trial.objective.value,
        "identity": None if trial.objective is None else trial.objective.identity.as_dict(),
        "images": trial.cost.images,
        "params": dict(trial.params),
        "error": trial.error,
        **_limits_json(trial),
        **_signals_json(trial),
    }


def score_json(value: Score) -> dict[str, Any]:
    """A score with its interval, what it is a score of, and what it is read beside."""
    return {
        "metric": value.metric,
        "value": value.value,
        "corrected": value.corrected,
        "interval": value.interval,
        "guessed": value.guessed,
        "identity": value.identity.as_dict(),
        **value.anchors.as_dict(),
    }


def comparison_rows(comparison: Comparison, judged: BudgetVerdict, limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of the table of `best --compare`, best first, with the cost until the best checkpoint and the whole one."""
    costs, unit = ({}, "images") if judged.trained is None else (judged.trained.costs, judged.trained.unit)
    intervals = any(entry.score.interval for entry in comparison.entries)
    return [
        {
            "#": entry.rank,
            "sweep": comparison.sweep_of(trial),
            "trial": trial.trial,
            "family": family_name(trial.family),
            comparison.title: entry.score.value,
            **({"without bias, 95 %": interval_words(entry.score)} if intervals else {}),
            "diversity": diversity_words(trial.signals),
            "to best": amount_words(to_best, unit),
            "whole": amount_words(whole, unit),
            "train s": _rounded(trial.cost.train_seconds),
            "params": count(trial.cost.params),
            "what differs": setting_words(trial.params, entry.differs),
        }
        for entry in comparison.entries[:limit]
        for trial in [entry.trial]
        for to_best, whole in [costs.get(trial.run_id, (None, None))]
    ]


def trial_rows(sweep: SweepRecord) -> list[dict[str, Any]]:
    """Rows of the table of `trials SWEEP`, in order of the trials' names."""
    several = len({trial.family for trial in sweep.trials}) > 1
    differs = varied_by_family(sweep.trials)
    scores = [trial.objective for trial in sweep.trials if trial.objective is not None]
    unlike = len({score.identity for score in scores}) > 1
    title = metric_title(sweep.metric, scores[0].identity) if scores else sweep.metric
    return [
        {
            "trial": ("* " if trial.best else "") + trial.trial,
            "status": trial.status,
            **({"family": family_name(trial.family)} if several else {}),
            title: None if trial.objective is None else trial.objective.value,
            **({"scored by": _scored_by(trial)} if unlike else {}),
            "diversity": diversity_words(trial.signals),
            "images": count(trial.cost.images),
            "train s": _rounded(trial.cost.train_seconds),
            "params": count(trial.cost.params),
            "memory/image": size(trial.cost.activation_bytes),
            "what differs": _failure(trial) or setting_words(trial.params, differs[trial.run_id]),
        }
        for trial in sweep.trials
    ]


def _scored_by(trial: TrialRecord) -> str | None:
    """How many images, and of how few steps, a score is of; others of its sweep are of others."""
    if trial.objective is None:
        return None
    identity = trial.objective.identity
    return counted(identity.samples, "image") + ("" if identity.steps is None else f", {identity.steps} steps")


def trial_facts(entry: RankedTrial, title: str) -> dict[str, str]:
    """What there is to say about one trial, for people: name -> words."""
    trial, cost = entry.trial, entry.trial.cost
    return {
        "run": f"{trial.name} ({trial.run_id})",
        "family": family_name(trial.family),
        title: score(entry.score.value),
        "without bias": f"{interval_words(entry.score) or 'not known'}. {guess_words(entry.score)}".rstrip(". "),
        "on fresh seeds": _rescored_words(trial.rescored, entry.score),
        **({"further": "; ".join(map(further_words, trial.further_scores))} if trial.further_scores else {}),
        "diversity": diversity_words(trial.signals),
        "measured as": identity_words(entry.score.identity),
        "read beside": anchor_words(entry.score.anchors, entry.score.identity.samples) or "not known",
        "cost": f"{count(cost.images)} images, {duration(cost.train_seconds)} training, "
        f"{duration(cost.sample_seconds)} sampling, {count(cost.params)} parameters, "
        f"{size(cost.activation_bytes)} memory an image of the batch",
        **({"lineage": lineage_words(trial.lineage)} if trial.lineage else {}),
        "checkpoint": trial.checkpoint or "not kept",
        "reproduce": reproduce_command(trial),
    }


def _names(trial: TrialRecord) -> dict[str, Any]:
    return {"sweep": trial.sweep, "trial": trial.trial, "run_id": trial.run_id}


def _signals_json(trial: TrialRecord) -> dict[str, Any]:
    """The signals of the best checkpoint, and what they warn of."""
    return {"signals": dict(trial.signals), "warnings": trial_warnings(trial)}


def _limits_json(trial: TrialRecord) -> dict[str, Any]:
    """What it has of each objective, if its sweep has several, and the constraints that it breaks, in words."""
    values = {each.metric: each.value for each in trial.objectives}
    return {"objectives": values, "broken_limits": list(trial.broken_limits)}


def _lineage_json(trial: TrialRecord) -> dict[str, Any]:
    """The clonings by which a trial came to its weights; empty if these are its own from the beginning."""
    return {"lineage": [step._asdict() for step in trial.lineage]}


def _rescored_words(rescored: Score | None, chosen: Score) -> str:
    if rescored is None:
        return "not scored again"
    interval = interval_words(rescored)
    words = f"{score(rescored.value)} ({score(rescored.value - chosen.value)} against the score it was chosen by)"
    return f"{words}; without bias {interval}" if interval else words


def _failure(trial: TrialRecord) -> str:
    """Why it failed, or was not trained."""
    return (trial.error or "").strip().partition("\n")[0] if trial.status in ("failed", "infeasible") else ""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1) if value < 10 else round(value)
