"""Comparisons and trials as plain values: the stable JSON of `best` and `trials`, and rows for tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING, Any

from gensweep.report.collapse import diversity_words, warnings_of
from gensweep.report.commands import reproduce_command
from gensweep.report.compare import varied_by_family, verdict
from gensweep.report.wording import count, duration, identity_words, interval_words, score, setting_words, size

if TYPE_CHECKING:
    from gensweep.report.compare import Comparison, Entry
    from gensweep.results import Score
    from gensweep.tracking.records import SweepRecord, TrialRecord

__all__ = ["best_json", "comparison_csv", "comparison_json", "comparison_rows", "trial_json", "trial_rows"]


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The object that `best --compare --format json` prints."""
    return {
        "sweeps": [sweep.name for sweep in comparison.sweeps],
        "entries": [_entry_json(entry) for entry in comparison.entries],
        "not_comparable": [
            {"sweep": item.sweep, "run_id": item.run_id, "reason": item.reason, "command": item.command}
            for item in comparison.not_comparable
        ],
        "failed": [
            {"sweep": trial.sweep, "trial": trial.trial, "run_id": trial.run_id, "error": trial.error}
            for trial in comparison.failed
        ],
        "too_close": [
            {
                "sweep": tie.trial.sweep,
                "trial": tie.trial.trial,
                "run_id": tie.trial.run_id,
                "difference": tie.difference,
                "interval": list(tie.interval),
                "paired": tie.paired,
            }
            for tie in comparison.ties
        ],
        "rungs": [
            asdict(rung) | {"correlation": None if isnan(rung.correlation) else rung.correlation}
            for rung in comparison.rungs
        ],
        "verdict": verdict(comparison),
    }


def best_json(entry: Entry, config: Mapping[str, Any]) -> dict[str, Any]:
    """The object that `best SWEEP --format json` prints: an entry with its configuration."""
    return _entry_json(entry) | {"config": dict(config), "reproduce": reproduce_command(entry.trial)}


def trial_json(trial: TrialRecord) -> dict[str, Any]:
    """One element of the list that `trials SWEEP --format json` prints; without a score, `objective` is null."""
    return {
        "trial": trial.trial,
        "run_id": trial.run_id,
        "status": trial.status,
        "objective": None if trial.objective is None else trial.objective.value,
        "images": trial.cost.images,
        "params": dict(trial.params),
        "error": trial.error,
        **_signals_json(trial),
    }


def comparison_rows(comparison: Comparison, limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of the table of `best --compare`, best first."""
    entries = comparison.entries[:limit]
    rows = []
    for entry in entries:
        trial = entry.trial
        row: dict[str, Any] = {"#": entry.rank, "sweep": trial.sweep, "trial": trial.trial}
        row |= {"family": trial.family, comparison.title: entry.score.value}
        if any(each.score.interval for each in comparison.entries):
            row |= {"without bias, 95 %": interval_words(entry.score)}
        row |= {"samples": entry.score.identity.samples, "diversity": diversity_words(trial.signals)}
        row |= {"images": count(trial.cost.images), "train s": _rounded(trial.cost.train_seconds)}
        row |= {"params": count(trial.cost.params), "what differs": setting_words(trial.params, entry.differs)}
        rows.append(row)
    return rows


def comparison_csv(comparison: Comparison) -> list[dict[str, Any]]:
    """Flat rows with the keys of the JSON entries, for spreadsheets."""
    rows = []
    for entry in comparison.entries:
        row = _entry_json(entry)
        objective, cost, signals = row.pop("objective"), row.pop("cost"), row.pop("signals")
        low, high = objective["interval"] or (None, None)
        row |= {key: objective[key] for key in ("metric", "value", "corrected", "identity")} | cost
        row |= {"interval_low": low, "interval_high": high, "rescored": (row["rescored"] or {}).get("value")}
        rows.append(row | {"diversity": signals.get("diversity"), "warnings": "; ".join(row["warnings"])})
    return rows


def trial_rows(sweep: SweepRecord) -> list[dict[str, Any]]:
    """Rows of the table of `trials SWEEP`, in order of the trials' names."""
    several = len({trial.family for trial in sweep.trials}) > 1
    return [
        {
            "trial": ("* " if trial.best else "") + trial.trial,
            "status": trial.status,
            **({"family": trial.family} if several else {}),
            "objective": None if trial.objective is None else trial.objective.value,
            "diversity": diversity_words(trial.signals),
            "images": count(trial.cost.images),
            "train s": _rounded(trial.cost.train_seconds),
            "params": count(trial.cost.params),
            "memory/image": size(trial.cost.activation_bytes),
            "what differs": _remark(trial) or setting_words(trial.params, keys),
        }
        for trial, keys in varied_by_family(sweep.trials)
    ]


def entry_facts(entry: Entry, title: str) -> dict[str, str]:
    """What there is to say about one trial, for people: name -> words."""
    trial, cost = entry.trial, entry.trial.cost
    return {
        "run": f"{trial.name} ({trial.run_id})",
        "family": trial.family,
        title: score(entry.score.value),
        "without bias": interval_words(entry.score) or "not known",
        "on fresh seeds": "not scored again" if trial.rescored is None else _again(trial.rescored, entry.score),
        "diversity": diversity_words(trial.signals),
        "measured as": identity_words(entry.score.identity),
        "cost": f"{count(cost.images)} images, {duration(cost.train_seconds)} training, "
        f"{duration(cost.sample_seconds)} sampling, {count(cost.params)} parameters, "
        f"{size(cost.activation_bytes)} memory an image of the batch",
        "checkpoint": trial.checkpoint or "not kept",
        "reproduce": reproduce_command(trial),
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    trial = entry.trial
    return {
        "rank": entry.rank,
        "sweep": trial.sweep,
        "trial": trial.trial,
        "run_id": trial.run_id,
        "family": trial.family,
        "objective": _objective_json(entry.score),
        "rescored": None if trial.rescored is None else _objective_json(trial.rescored),
        "cost": asdict(trial.cost),
        "params": dict(trial.params),
        "checkpoint": trial.checkpoint,
        "status": trial.status,
        **_signals_json(trial),
    }


def _signals_json(trial: TrialRecord) -> dict[str, Any]:
    """The signals of the best checkpoint, and what they warn of."""
    return {"signals": dict(trial.signals), "warnings": warnings_of(trial.signals)}


def _objective_json(value: Score) -> dict[str, Any]:
    return {
        "metric": value.metric,
        "value": value.value,
        "corrected": value.corrected,
        "interval": None if value.interval is None else list(value.interval),
        "identity": value.identity.as_dict(),
    }


def _again(rescored: Score, chosen: Score) -> str:
    told = interval_words(rescored)
    difference = score(rescored.value - chosen.value)
    return f"{score(rescored.value)} ({difference} against the score it was chosen by)" + (
        f"; without bias {told}" if told else ""
    )


def _remark(trial: TrialRecord) -> str:
    if trial.status != "failed" or not trial.error:
        return ""
    return trial.error.strip().splitlines()[0]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1) if value < 10 else round(value)
