"""Scores of a trained model with other samplers, steps, guidance and weights: rows and words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gensweep.metrics.titles import metric_title
from gensweep.report.export import score_json
from gensweep.report.wording import format_anchors, format_guess, format_identity, format_interval, score
from gensweep.results import Outcome, Score

#: A score is nearly as good as the best if it is no more than this share worse.
NEARLY_AS_GOOD = 0.05
_OPTIONS = {"sampler.kind": "--sampler", "sampler.steps": "--steps", "family.guidance": "--guidance"}


@dataclass(frozen=True)
class SamplingResult:
    """An outcome, and the run or checkpoint folder that it is of, as a person names it.

    `changes` are the settings that differ from the training's, by dotted key; `metric` is the score that is looked at.
    """

    run: str
    outcome: Outcome
    changes: dict[str, Any]
    metric: str

    @property
    def score(self) -> Score:
        """The score, with what it is a score of, and how sure it is."""
        return self.outcome.scores[self.metric]

    @property
    def evaluations(self) -> int:
        """Evaluations of the network that an image needs."""
        return self.outcome.sampling.evaluations

    @property
    def order(self) -> tuple[float, int]:
        """Smaller is better."""
        return self.outcome.order(self.metric)


def result_rows(results: Sequence[SamplingResult]) -> list[dict[str, Any]]:
    """Rows of the table, in the order of the results; the best one has a star."""
    best, several = _best(results), len({each.run for each in results}) > 1
    intervals = any(each.score.interval for each in results)
    rows = []
    for each in results:
        sampling, outcome = each.outcome.sampling, each.outcome
        scores = sorted(outcome.scores.values(), key=lambda score: score.metric != each.metric)
        rows.append(
            {
                **({"run": each.run} if several else {}),
                "sampler": ("* " if each is best else "") + (sampling.sampler or "(none)"),
                "guidance": sampling.guidance,
                "weights": sampling.weights,
                "steps": "all" if sampling.steps is None and sampling.sampler is not None else sampling.steps,
                "evaluations": each.evaluations,
                **{metric_title(score.metric, score.identity): score.value for score in scores},
                **({"without bias, 95 %": format_interval(each.score)} if intervals else {}),
                "ms an image": 1000 * outcome.sample_seconds / _drawn(outcome),
            }
        )
    return rows


def _drawn(outcome: Outcome) -> int:
    """How many images were drawn: a likelihood counts real ones, and alone has few drawn, for people to look at."""
    from gensweep.training.settings import drawn_unscored  # imports torch

    alone = all(score.identity.timesteps is not None for score in outcome.scores.values())
    return drawn_unscored(outcome.samples) if alone else outcome.samples


def result_json(results: Sequence[SamplingResult]) -> list[dict[str, Any]]:
    """The list that `evaluate --format json` prints, in the order of the results."""
    best = _best(results)
    return [
        {
            "run": each.run,
            "sampler": each.outcome.sampling.sampler,
            "steps": each.outcome.sampling.steps,
            "guidance": each.outcome.sampling.guidance,
            "weights": each.outcome.sampling.weights,
            "evaluations": each.evaluations,
            "samples": each.outcome.samples,
            "seed": each.outcome.seed,
            **score_json(each.score),
            "scores": {name: score.value for name, score in each.outcome.scores.items()},
            "signals": dict(each.outcome.signals),
            "sample_seconds": each.outcome.sample_seconds,
            "evaluate_seconds": each.outcome.evaluate_seconds,
            "device": each.outcome.device,
            "best": each is best,
            "sample": sample_command(each),
        }
        for each in results
    ]


def result_words(results: Sequence[SamplingResult]) -> list[str]:
    """What the results say, line by line: what was measured, the best, and the cheapest that is nearly as good."""
    best = _best(results)
    # Which weights drew the images is in the table where it is not the same in all rows.
    same = len({each.outcome.sampling.weights for each in results}) == 1
    lines = [f"Measured as {format_identity(best.score.identity, name_weights=same)}; seed {best.outcome.seed}."]
    if words := format_guess(best.score):
        lines.append(words)
    if beside := format_anchors(best.score.anchors, best.score.identity.samples):
        lines.append(beside)
    if len(results) > 1:
        lines.append(f"Best: {one_line(best, ', ')}.")
        margin = NEARLY_AS_GOOD * abs(best.score.value)
        near = [each for each in results if abs(each.score.value - best.score.value) <= margin]
        cheapest = min(near, key=lambda each: (each.evaluations, each.order))
        if cheapest.evaluations < best.evaluations:
            lines.append(f"Within {100 * NEARLY_AS_GOOD:.0f} % of it at the least cost: {one_line(cheapest, ', ')}.")
    lines.append(f"To draw images this way: {sample_command(best)}")
    return lines


def sample_command(result: SamplingResult) -> str:
    """The command that draws images as those of a result were."""
    parts = ["gensweep", "sample", result.run]
    for key, value in result.changes.items():
        if value is None:
            parts += ["--set", f"{key}=null"]
        else:
            parts += [_OPTIONS[key], repr(value).removesuffix(".0") if isinstance(value, float) else str(value)]
    weights = result.outcome.sampling.weights
    if weights != "ema":
        parts += ["--ema", weights.removeprefix("ema@")]
    return shlex.join(parts)


def _best(results: Sequence[SamplingResult]) -> SamplingResult:
    return min(results, key=lambda each: each.order)


def one_line(result: SamplingResult, separator: str) -> str:
    """How images were drawn, and their score."""
    plural = "s" * (result.evaluations != 1)
    parts = [*_parts(result).values(), f"{result.evaluations} network evaluation{plural} an image"]
    title = metric_title(result.metric, result.score.identity)
    return f"{', '.join(part for part in parts if part)}{separator}{title} {score(result.score.value)}"


def _parts(result: SamplingResult) -> dict[str, str]:
    """How images were drawn, in words; what a model does not have is empty."""
    sampling = result.outcome.sampling
    steps = "all" if sampling.steps is None else sampling.steps
    return {
        "run": result.run,
        "sampler": sampling.sampler or "",
        "steps": f"{steps} steps" if sampling.sampler else "",
        "guidance": "" if sampling.guidance is None else f"guidance {sampling.guidance:g}",
        "weights": f"{sampling.weights} weights",
    }
