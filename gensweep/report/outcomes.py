"""Ways to draw images that were tried after training: rows, the winner in words, a picture of score against cost."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensweep.errors import ConfigError, GensweepError
from gensweep.report.wording import identity_words, interval_words, metric_title, score
from gensweep.results import Identity, Outcome, Score

__all__ = [
    "PICTURES",
    "Tried",
    "check_picture",
    "one_line",
    "outcome_json",
    "outcome_rows",
    "sample_command",
    "winner",
    "words",
    "write_picture",
]

#: Endings of the files that a picture can be written to.
PICTURES = (".png", ".svg", ".pdf")
#: A way is called nearly as good as the best if its score is no more than this part worse.
NEAR = 0.05

_OPTIONS = {"sampler.kind": "--sampler", "sampler.steps": "--steps", "family.guidance": "--guidance"}


@dataclass(frozen=True)
class Tried:
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
    def value(self) -> float:
        """The score's value."""
        return self.score.value

    @property
    def identity(self) -> Identity:
        """What the score is a score of."""
        return self.score.identity

    @property
    def order(self) -> tuple[float, int]:
        """Smaller is better; of equal scores the cheaper way."""
        return self.score.order, self.outcome.sampling.evaluations

    @property
    def scores(self) -> list[Score]:
        """The scores by all metrics, the one that is looked at first."""
        return sorted(self.outcome.scores.values(), key=lambda score: score.metric != self.metric)


def outcome_rows(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """Rows of the table, in the order of the values; the best one has a star."""
    best, several = winner(tried), len({each.run for each in tried}) > 1
    sure = any(each.score.interval for each in tried)
    rows = []
    for each in tried:
        way, outcome = each.outcome.sampling, each.outcome
        name = way.sampler or "(none)"
        rows.append(
            {
                **({"run": each.run} if several else {}),
                "sampler": f"* {name}" if each is best else name,
                "guidance": way.guidance,
                "weights": way.weights,
                "steps": way.steps if way.steps is not None or way.sampler is None else "all",
                "evaluations": way.evaluations,
                **{metric_title(score.metric, score.identity): score.value for score in each.scores},
                **({"without bias, 95 %": interval_words(each.score)} if sure else {}),
                "ms an image": 1000 * outcome.sample_seconds / outcome.samples,
            }
        )
    return rows


def outcome_json(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """The list that `evaluate --format json` prints, in the order of the values."""
    best = winner(tried)
    return [
        {
            "run": each.run,
            "sampler": each.outcome.sampling.sampler,
            "steps": each.outcome.sampling.steps,
            "guidance": each.outcome.sampling.guidance,
            "weights": each.outcome.sampling.weights,
            "evaluations": each.outcome.sampling.evaluations,
            "samples": each.outcome.samples,
            "seed": each.outcome.seed,
            "metric": each.metric,
            "value": each.value,
            "corrected": each.score.corrected,
            "interval": None if each.score.interval is None else list(each.score.interval),
            "identity": each.identity.as_dict(),
            "scores": {name: score.value for name, score in each.outcome.scores.items()},
            "sample_seconds": each.outcome.sample_seconds,
            "evaluate_seconds": each.outcome.evaluate_seconds,
            "device": each.outcome.device,
            "best": each is best,
            "sample": sample_command(each),
        }
        for each in tried
    ]


def winner(tried: Sequence[Tried]) -> Tried:
    """The one with the best score."""
    return min(tried, key=lambda each: each.order)


def words(tried: Sequence[Tried]) -> list[str]:
    """What the outcomes say, line by line: what was measured, the best way, and the cheapest that is nearly as good."""
    best = winner(tried)
    title = metric_title(best.metric, best.identity)
    # Which weights drew the images is in the table where it is not the same in all rows.
    same = len({each.outcome.sampling.weights for each in tried}) == 1
    lines = [f"Measured as {identity_words(best.identity, name_weights=same)}; seed {best.outcome.seed}."]
    if len(tried) > 1:
        lines.append(f"Best: {_way(best)}, {title} {score(best.value)}.")
        margin = NEAR * abs(best.value)
        near = [each for each in tried if abs(each.value - best.value) <= margin]
        cheap = min(near, key=lambda each: (each.outcome.sampling.evaluations, each.order))
        if cheap.outcome.sampling.evaluations < best.outcome.sampling.evaluations:
            lines.append(
                f"Within {100 * NEAR:.0f} % of it at the least cost: {_way(cheap)}, {title} {score(cheap.value)}."
            )
    lines.append(f"To draw images this way: {sample_command(best)}")
    return lines


def sample_command(tried: Tried) -> str:
    """The command that draws images in a way."""
    parts = ["gensweep", "sample", tried.run]
    for key, value in tried.changes.items():
        if value is None:
            parts += ["--set", f"{key}=null"]
        else:
            parts += [_OPTIONS[key], f"{value:g}" if isinstance(value, float) else str(value)]
    weights = tried.outcome.sampling.weights
    if weights != "ema":
        parts += ["--ema", weights.removeprefix("ema@")]
    return shlex.join(parts)


def one_line(tried: Tried) -> str:
    """An outcome as a line of a log."""
    return f"{_way(tried)}: {metric_title(tried.metric, tried.identity)} {score(tried.value)}"


def check_picture(file: Path) -> None:
    """Raise ConfigError if a picture cannot be written under such a name."""
    if file.suffix.lower() not in PICTURES:
        raise ConfigError(f"--picture {file}: the name must end in {', '.join(PICTURES)}")


def write_picture(tried: Sequence[Tried], file: Path) -> None:
    """Draw score against network evaluations, a curve for each sampler, guidance and weights.

    Raises GensweepError if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, ScalarFormatter

    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, curve in _curves(tried).items():
        points = sorted((each.outcome.sampling.evaluations, each.value) for each in curve)
        axes.plot([x for x, _ in points], [y for _, y in points], "-o", markersize=4, linewidth=1.6, label=label)
    costs = sorted({each.outcome.sampling.evaluations for each in tried})
    axes.set_xscale("log")
    if all(each.value > 0 for each in tried) and max(e.value for e in tried) > 5 * min(e.value for e in tried):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_xticks(_apart(costs), [str(cost) for cost in _apart(costs)])
    axes.xaxis.set_minor_locator(NullLocator())
    first = tried[0]
    axes.set_xlabel("network evaluations an image")
    axes.set_ylabel(f"{metric_title(first.metric, first.identity)}, {first.outcome.samples:,} images")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(_curves(tried)) > 1:
        axes.legend(frameon=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
    except OSError as error:
        raise GensweepError(f"--picture {file}: cannot be written ({error})") from error


def _curves(tried: Sequence[Tried]) -> dict[str, list[Tried]]:
    """Outcomes by what a curve is called: whatever is not the same in all of them."""
    ways = [each.outcome.sampling for each in tried]
    varied = {name: len({getattr(way, name) for way in ways}) > 1 for name in ("sampler", "guidance", "weights")}
    several = len({each.run for each in tried}) > 1
    curves: dict[str, list[Tried]] = {}
    for each, way in zip(tried, ways, strict=True):
        parts = [
            each.run if several else "",
            str(way.sampler) if varied["sampler"] or not any(varied.values()) else "",
            f"guidance {way.guidance:g}" if varied["guidance"] and way.guidance is not None else "",
            way.weights if varied["weights"] else "",
        ]
        curves.setdefault(", ".join(part for part in parts if part), []).append(each)
    return curves


def _apart(costs: Sequence[int]) -> list[int]:
    """Those of some rising numbers whose labels do not run into each other on a logarithmic axis."""
    shown: list[int] = []
    for cost in costs:
        if not shown or cost >= 1.25 * shown[-1]:
            shown.append(cost)
    return shown


def _way(tried: Tried) -> str:
    way = tried.outcome.sampling
    parts = [
        tried.run,
        *([str(way.sampler)] if way.sampler else []),
        *([f"{'all' if way.steps is None else way.steps} steps"] if way.sampler else []),
        *([f"guidance {way.guidance:g}"] if way.guidance is not None else []),
        f"{way.weights} weights",
        f"{way.evaluations} network evaluation{'s' * (way.evaluations != 1)} an image",
    ]
    return ", ".join(parts)
