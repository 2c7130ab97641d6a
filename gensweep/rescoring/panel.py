"""Score one set of images by all measures of the panel."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from gensweep.build.parts import build_evaluator, missing_weights
from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.metrics.metric import METRICS
from gensweep.metrics.panel import PANEL, PANEL_SAMPLES
from gensweep.metrics.statistics import STATISTICS_SUFFIX
from gensweep.results import BETTER, Outcome, Score
from gensweep.training.device import synchronised_time
from gensweep.training.evaluation import computed


def panel_samples(trial: TrialConfig) -> int:
    """The number of generated images, if the user names none."""
    samples: int = trial.flat()["evaluation.samples"]
    return min(PANEL_SAMPLES, samples)


def score_panel(
    changed: Callable[[Mapping[str, Any]], TrialConfig],
    images: Images,
    pixels: UInt8[Tensor, "n c h w"],
    labels: Int[Tensor, " n"] | None,
    outcome: Outcome,
    device: torch.device,
) -> Outcome:
    """The outcome with scores of generated images by measure, with standard errors, and the seconds of each.

    `changed` returns the trial with other values of dotted keys.  `images` are its training images, and `labels` the
    classes that the generated ones should show.  Measures without labels or published weights are left out.
    """
    begun, weights = synchronised_time(device), outcome.sampling.weights
    by_extractor, scores, seconds = dict[str, list[str]](), dict[str, Score](), dict[str, float]()
    for measure in PANEL:
        if not METRICS[measure.metric].labelled or (labels is not None and images.classes > 1):
            by_extractor.setdefault(measure.extractor, []).append(measure.metric)
    for kind, metrics in by_extractor.items():
        asked = {"samples": len(pixels), "extractor": {"kind": kind}, "metrics": metrics}
        if changed({}).flat()["evaluation.against"].endswith(STATISTICS_SUFFIX):  # they are of one extractor
            asked["against"] = "train"
        trial = changed({f"evaluation.{key}": value for key, value in asked.items()})
        if missing_weights(trial, "evaluation") is not None:
            continue
        evaluator = build_evaluator(trial, images, device)
        assert evaluator.extractor is not None
        started = synchronised_time(device)
        features = evaluator.extractor(pixels.to(device))
        shared = (synchronised_time(device) - started) / len(metrics)
        for name, metric in evaluator.metrics.items():
            started = synchronised_time(device)
            metric.see(pixels, features, labels)
            found, details, _ = computed(replace(evaluator, anchors=lambda _: {}), {name: metric})
            error = details.get(f"{name}/standard_error", found[name].error)
            scores[f"{name}:{kind}"] = replace(
                found[name], error=error, identity=replace(found[name].identity, weights=weights)
            )
            seconds[f"{name}:{kind}"] = shared + synchronised_time(device) - started
    ordered = {each.name: scores[each.name] for each in PANEL if each.name in scores}
    spent = synchronised_time(device) - begun
    return replace(outcome, scores=ordered, signals=seconds, evaluate_seconds=spent, time=time.time(), panel=True)


def panel_rows(scores: Mapping[str, Score], seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row for each measure with a score, with its standard error if known."""
    return [
        {
            "measure": measure.name,
            "kind": measure.kind if measure.votes else f"{measure.kind}, no vote",
            "value": score.value,
            "error": score.error,
            "better": BETTER[score.mode],
            "seconds": seconds[measure.name],
        }
        for measure in PANEL
        if (score := scores.get(measure.name)) is not None
    ]
