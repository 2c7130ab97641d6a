"""The score of imported images: a row of the table, the stable JSON, and words."""

from __future__ import annotations

from typing import Any

from gensweep.imported.scoring import ImportedEvaluation
from gensweep.metrics.metric import METRICS
from gensweep.report.wording import count, identity_words, interval_words, metric_title
from gensweep.tracking.sweeps import Score

__all__ = ["imported_json", "imported_rows", "score_of", "words"]


def imported_rows(run: str, evaluation: ImportedEvaluation, metric: str) -> list[dict[str, Any]]:
    """The one row of the table."""
    return [
        {
            "run": run,
            "family": evaluation.origin["kind"],
            metric_title(metric, evaluation.identities[metric]): evaluation.result.scores[metric],
            **({"without bias, 95 %": words} if (words := interval_words(score_of(evaluation, metric))) else {}),
            "samples": evaluation.samples,
            "params": count(evaluation.params),
        }
    ]


def imported_json(run: str, evaluation: ImportedEvaluation, metric: str) -> dict[str, Any]:
    """The one element that `evaluate --format json` prints; what belongs to a model of gensweep's own is null."""
    return {
        "run": run,
        **dict.fromkeys(("sampler", "steps", "guidance")),
        "weights": evaluation.identities[metric]["weights"],
        "evaluations": None,
        "samples": evaluation.samples,
        "seed": evaluation.seed,
        "metric": metric,
        "value": (score := score_of(evaluation, metric)).value,
        "corrected": score.corrected,
        "interval": None if score.interval is None else list(score.interval),
        "identity": dict(evaluation.identities[metric]),
        "scores": dict(evaluation.result.scores),
        "signals": dict(evaluation.result.signals),
        "sample_seconds": evaluation.sample_seconds,
        "evaluate_seconds": evaluation.result.evaluate_seconds,
        "device": evaluation.device,
        "best": True,
        "sample": None,
        "origin": dict(evaluation.origin),
        "params": evaluation.params,
        "notes": list(evaluation.notes),
    }


def score_of(evaluation: ImportedEvaluation, metric: str) -> Score:
    """The score by a metric, with what it is a score of, and how sure it is."""
    estimate = evaluation.result.estimates.get(metric)
    corrected, error = (None, None) if estimate is None else (estimate.corrected, estimate.error)
    value, mode = evaluation.result.scores[metric], METRICS[metric].mode
    return Score(metric, value, mode, evaluation.identities[metric], corrected, error)


def words(evaluation: ImportedEvaluation, metric: str) -> list[str]:
    """What was measured, and the scores and details that the table has no room for, a line a metric."""
    scores, signals = evaluation.result.scores, evaluation.result.signals
    lines = []
    for name, score in scores.items():
        details = [
            f"{key.partition('/')[2]} {value:.4g}" for key, value in signals.items() if key.startswith(f"{name}/")
        ]
        if details or name != metric:
            lines.append(f"{name} {score:.4g}" + (f" ({', '.join(details)})" if details else ""))
    return [*lines, f"Measured as {identity_words(metric, evaluation.identities[metric])}."]
