"""The score of imported images: a row of the table, the stable JSON, and words."""

from __future__ import annotations

from typing import Any

from gensweep.imported.scoring import ImportedEvaluation
from gensweep.report.wording import count, identity_words, interval_words, metric_title

__all__ = ["imported_json", "imported_rows", "words"]


def imported_rows(run: str, evaluation: ImportedEvaluation, metric: str) -> list[dict[str, Any]]:
    """The one row of the table."""
    score = evaluation.scores[metric]
    return [
        {
            "run": run,
            "family": evaluation.origin["kind"],
            metric_title(metric, score.identity): score.value,
            **({"without bias, 95 %": words} if (words := interval_words(score)) else {}),
            "samples": evaluation.samples,
            "params": count(evaluation.params),
        }
    ]


def imported_json(run: str, evaluation: ImportedEvaluation, metric: str) -> dict[str, Any]:
    """The one element that `evaluate --format json` prints; what belongs to a model of gensweep's own is null."""
    score = evaluation.scores[metric]
    return {
        "run": run,
        **dict.fromkeys(("sampler", "steps", "guidance")),
        "weights": score.identity.weights,
        "evaluations": None,
        "samples": evaluation.samples,
        "seed": evaluation.seed,
        "metric": metric,
        "value": score.value,
        "corrected": score.corrected,
        "interval": None if score.interval is None else list(score.interval),
        "identity": score.identity.as_dict(),
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
    return [*lines, f"Measured as {identity_words(evaluation.scores[metric].identity)}."]
