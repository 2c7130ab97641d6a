"""The score of images that were only judged here: a row, the stable JSON, and words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gensweep.report.wording import count, identity_words, interval_words, metric_title
from gensweep.tracking.sweeps import Score

if TYPE_CHECKING:
    from gensweep.imported.scoring import ImportedEvaluation

__all__ = ["imported_json", "imported_rows", "words"]


def imported_rows(run: str, judged: ImportedEvaluation, metric: str) -> list[dict[str, Any]]:
    """The one row of the table."""
    return [
        {
            "run": run,
            "family": judged.origin["kind"],
            metric_title(metric, judged.identities[metric]): judged.result.scores[metric],
            **({"without bias, 95 %": words} if (words := interval_words(_score(judged, metric))) else {}),
            "samples": judged.samples,
            "params": count(judged.params),
        }
    ]


def imported_json(run: str, judged: ImportedEvaluation, metric: str) -> dict[str, Any]:
    """The one element that `evaluate --format json` prints; what belongs to a model of gensweep's own is null."""
    return {
        "run": run,
        **dict.fromkeys(("sampler", "steps", "guidance")),
        "weights": judged.identities[metric]["weights"],
        "evaluations": None,
        "samples": judged.samples,
        "seed": judged.seed,
        "metric": metric,
        "value": (score := _score(judged, metric)).value,
        "corrected": score.corrected,
        "interval": None if score.interval is None else list(score.interval),
        "identity": dict(judged.identities[metric]),
        "scores": dict(judged.result.scores),
        "signals": dict(judged.result.signals),
        "sample_seconds": judged.sample_seconds,
        "evaluate_seconds": judged.result.evaluate_seconds,
        "device": judged.device,
        "best": True,
        "sample": None,
        "origin": dict(judged.origin),
        "params": judged.params,
        "notes": list(judged.notes),
    }


def _score(judged: ImportedEvaluation, metric: str) -> Score:
    estimate = judged.result.estimates.get(metric)
    corrected, error = (None, None) if estimate is None else (estimate.corrected, estimate.error)
    return Score(metric, judged.result.scores[metric], "min", judged.identities[metric], corrected, error)


def words(judged: ImportedEvaluation, metric: str) -> list[str]:
    """What was measured, and the scores and details that the table has no room for, a line a metric."""
    scores, signals = judged.result.scores, judged.result.signals
    lines = []
    for name, score in scores.items():
        details = [
            f"{key.partition('/')[2]} {value:.4g}" for key, value in signals.items() if key.startswith(f"{name}/")
        ]
        if details or name != metric:
            lines.append(f"{name} {score:.4g}" + (f" ({', '.join(details)})" if details else ""))
    return [*lines, f"Measured as {identity_words(metric, judged.identities[metric])}."]
