"""Score trained models with other sampling settings: parse the options, show progress, log and print."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.errors import ConfigError, GensweepError
from gensweep.metrics.titles import metric_title
from gensweep.report.export import score_json
from gensweep.report.output import option_bundle, print_warnings, progress_bar
from gensweep.report.wording import (
    counted,
    duration,
    format_anchors,
    format_guess,
    format_identity,
    format_interval,
    score,
)
from gensweep.results import Outcome, Score

if TYPE_CHECKING:
    from gensweep.rescoring.rescorer import Rescorer
    from gensweep.results import SamplingConfig
    from gensweep.sweep.trial_state import TrialState

#: `--sampler`, `--steps`, `--guidance` and `--ema`, each a comma-separated list.
axes_options = option_bundle(
    click.option("--sampler", metavar="KIND,...", help="Samplers to try, such as heun,dpmpp_2m."),
    click.option("--steps", metavar="N,...", help="Numbers of steps to try; all means every noise level."),
    click.option(
        "--guidance", metavar="SCALE,...", help="Scales of classifier-free guidance to try; 1 is no guidance."
    ),
    click.option(
        "--ema",
        metavar="FACTOR,...",
        help="Averaged weights to try, by multiples of training.ema_half_life: 0.25,1,4; raw for none.",
    ),
)


def parse_axes(texts: Mapping[str, str | None]) -> dict[str, Any]:
    """Parse comma-separated lists, by the name of the option.  Raises ConfigError with all problems."""
    readers: dict[str, tuple[Callable[[str], Any], str]] = {
        "sampler": (_word, "one value or several, separated by commas"),
        "steps": (_steps, "whole numbers >= 1, such as 10,20,50, or all"),
        "guidance": (_guidance, "numbers >= 0, such as 1,2"),
        "ema": (_word, "one value or several, separated by commas"),
    }
    values, problems = dict[str, Any](), list[str]()
    for name, text in texts.items():
        read, expected = readers[name]
        if text is not None:
            try:
                values[name] = tuple(dict.fromkeys(read(part.strip()) for part in text.split(",")))
            except ValueError:
                problems.append(f"{name}={text}: expected {expected}")
    if problems:
        raise ConfigError(problems)
    return values


def _word(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _steps(text: str) -> int | None:
    if text == "all":
        return None
    if int(text) < 1:
        raise ValueError
    return int(text)


def _guidance(text: str) -> float:
    if not 0 <= float(text) < math.inf:
        raise ValueError
    return float(text)


def rescore(
    run: str | TrialState, axes: Mapping[str, Any], command: str | None = None, **settings: Any
) -> list[SamplingResult]:
    """Score a run or a checkpoint folder with every combination of the values, in their order.

    `Rescorer.configs` describes the values, `Rescorer` the settings.  All combinations are checked before
    the first is scored.  Each score goes to the sweep's log at once, so after an interruption the `command`, by default
    the current one, computes only the rest.  Raises GensweepError for an unknown run or a missing checkpoint.
    """
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.files import cache_folder
    from gensweep.rescoring.rescorer import Rescorer
    from gensweep.sweep.events import ScoredAgain
    from gensweep.sweep.provenance import command_line
    from gensweep.sweep.stored_sweeps import named_trial
    from gensweep.tracking.checkpoints import checkpoint_folder

    trial = named_trial(run) if isinstance(run, str) else run
    name = str(run) if trial is None else trial.name
    model = Rescorer(checkpoint_folder(trial or name), known=trial.outcomes if trial else (), **settings)
    configs = model.configs(**axes)
    print_warnings(sampler_warnings(map(model.trial_of, configs)))
    missing = model.missing(configs)
    if not missing:
        click.echo(f"{name}: all known, from the log of the sweep", err=True)
    folder = trial.folder if trial else None
    if folder is not None and folder.path.is_relative_to(cache_folder()):
        click.echo(f"Note: {name} was read from a storage, so these scores are not logged", err=True)
        folder = None

    def result(sampling: SamplingConfig) -> SamplingResult:
        outcome, asked = model.known[sampling], trial.metric if trial else ""
        metric = asked if asked in outcome.scores else next(iter(outcome.scores))
        return SamplingResult(name, outcome, model.overrides(sampling), metric)

    try:
        for outcome in _outcomes(name, model, missing, settings):
            model.known[outcome.sampling] = outcome
            if folder is not None and trial is not None:
                try:
                    folder.log.append(ScoredAgain(trial.trial, outcome, model.checkpoint.images))
                except GensweepError as error:
                    click.echo(f"Note: {error}", err=True)
            if not sys.stderr.isatty():
                click.echo(one_line(result(outcome.sampling), ": "), err=True)
    except KeyboardInterrupt:
        click.echo(f"Finished scores are kept; to resume: {command or command_line()}", err=True)
        raise
    return [result(each) for each in configs]


def _outcomes(
    name: str, model: Rescorer, configs: Sequence[SamplingConfig], settings: Mapping[str, Any]
) -> Iterator[Outcome]:
    """Score a model in this process one outcome at a time, or all at once on the cluster at RAY_ADDRESS."""
    from gensweep.run.near_gpus import SentPath, has_cluster, run_near_gpus

    if not configs:
        return
    if has_cluster():
        yield from run_near_gpus(score_folder, SentPath(model.folder), settings, list(configs))
        return
    with progress_bar(name, sum(each.evaluations for each in configs) * model.drawn) as show:
        yield from model.run(configs, show)


def score_folder(folder: Path, settings: Mapping[str, Any], configs: Sequence[SamplingConfig]) -> list[Outcome]:
    """Score the model in a checkpoint folder, on this node."""
    from gensweep.rescoring.rescorer import Rescorer

    return list(Rescorer(folder, **settings).run(configs))


#: A score counts as nearly as good as the best if it is at most this share worse.
NEARLY_AS_GOOD = 0.05
_OPTIONS = {"sampler.kind": "--sampler", "sampler.steps": "--steps", "family.guidance": "--guidance"}


@dataclass(frozen=True)
class SamplingResult:
    """An outcome, and its run or checkpoint folder as the user named it.

    `changes` are settings that differ from the training's, by dotted key; `metric` is the one of `score`.
    """

    run: str
    outcome: Outcome
    changes: dict[str, Any]
    metric: str

    @property
    def score(self) -> Score:
        """The score by the metric of the sweep."""
        return self.outcome.scores[self.metric]

    @property
    def sampling(self) -> SamplingConfig:
        """The sampling configuration."""
        return self.outcome.sampling

    @property
    def order(self) -> tuple[float, int]:
        """Sort key: lower is better; of equal scores the cheaper one is."""
        return self.score.order, self.sampling.evaluations


def result_rows(results: Sequence[SamplingResult]) -> list[dict[str, Any]]:
    """Rows of the table, in the order of the results; a star marks the best one."""
    best = _best(results)
    intervals = any(each.score.interval for each in results)
    rows = []
    for each in results:
        sampling = each.sampling
        scores = sorted(each.outcome.scores.values(), key=lambda score: score.metric != each.metric)
        rows.append(
            {
                "sampler": ("* " if each is best else "") + (sampling.sampler or "(none)"),
                "guidance": sampling.guidance,
                "weights": sampling.weights,
                "steps": "all" if sampling.steps is None and sampling.sampler is not None else sampling.steps,
                "evaluations": sampling.evaluations,
                **{metric_title(score.metric, score.identity): score.value for score in scores},
                **({"without bias, 95 %": format_interval(each.score)} if intervals else {}),
            }
        )
    return rows


def result_json(results: Sequence[SamplingResult]) -> list[dict[str, Any]]:
    """The list that `evaluate --format json` prints, in the order of the results."""
    best = _best(results)
    return [
        {
            "run": each.run,
            **_sampling(each),
            "samples": each.outcome.samples,
            "seed": each.outcome.seed,
            **score_json(each.score),
            "scores": {name: score.value for name, score in each.outcome.scores.items()},
            "signals": dict(each.outcome.signals),
            **{key: getattr(each.outcome, key) for key in ("sample_seconds", "evaluate_seconds", "device")},
            "best": each is best,
            "sample": sample_command(each),
        }
        for each in results
    ]


def panel_result_rows(results: Sequence[SamplingResult], *, whole: bool) -> list[dict[str, Any]]:
    """Rows of the panel's measures; `whole` ones also have the run and its sampling, as in JSON."""
    from gensweep.rescoring.panel import panel_rows

    rows = []
    for each in results:
        about = {"run": each.run, "samples": each.outcome.samples, "seed": each.outcome.seed} | _sampling(each)
        measured = panel_rows(each.outcome.scores, each.outcome.signals)
        rows += [(about if whole else {}) | row for row in measured]
        spent = duration(each.outcome.evaluate_seconds)
        click.echo(f"All measures of {each.outcome.samples:,} images took {spent}.", err=True)
    return rows


def _sampling(result: SamplingResult) -> dict[str, Any]:
    return {key: getattr(result.sampling, key) for key in ("sampler", "steps", "guidance", "weights", "evaluations")}


def format_results(results: Sequence[SamplingResult]) -> list[str]:
    """Summary of the results: how they were measured, the best, and the cheapest that is nearly as good."""
    best = _best(results)
    # The table shows the weights if they differ between rows.
    same = len({each.sampling.weights for each in results}) == 1
    lines = [f"Measured as {format_identity(best.score.identity, name_weights=same)}; seed {best.outcome.seed}."]
    if words := format_guess(best.score):
        lines.append(words)
    if anchors := format_anchors(best.score.anchors, best.score.identity.samples):
        lines.append(anchors)
    if len(results) > 1:
        lines.append(f"Best: {one_line(best, ', ')}.")
        margin = NEARLY_AS_GOOD * abs(best.score.value)
        near = [each for each in results if abs(each.score.value - best.score.value) <= margin]
        cheapest = min(near, key=lambda each: (each.sampling.evaluations, each.order))
        if cheapest.sampling.evaluations < best.sampling.evaluations:
            lines.append(f"Within {100 * NEARLY_AS_GOOD:.0f} % of it at the least cost: {one_line(cheapest, ', ')}.")
    lines.append(f"To sample this way: {sample_command(best)}")
    return lines


def sample_command(result: SamplingResult) -> str:
    """The command that generates images with the settings of a result."""
    parts = ["gensweep", "sample", result.run]
    for key, value in result.changes.items():
        if value is None:
            parts += ["--set", f"{key}=null"]
        else:
            parts += [_OPTIONS[key], repr(value).removesuffix(".0") if isinstance(value, float) else str(value)]
    weights = result.sampling.weights
    if weights != "ema":
        parts += ["--ema", weights.removeprefix("ema@")]
    return shlex.join(parts)


def _best(results: Sequence[SamplingResult]) -> SamplingResult:
    return min(results, key=lambda each: each.order)


def one_line(result: SamplingResult, separator: str) -> str:
    """The sampling settings of a result, and its score."""
    sampling = result.sampling
    parts = [
        result.run,
        sampling.sampler or "",
        f"{'all' if sampling.steps is None else sampling.steps} steps" if sampling.sampler else "",
        "" if sampling.guidance is None else f"guidance {sampling.guidance:g}",
        f"{sampling.weights} weights",
        f"{counted(sampling.evaluations, 'network evaluation')} an image",
    ]
    title = metric_title(result.metric, result.score.identity)
    return f"{', '.join(filter(None, parts))}{separator}{title} {score(result.score.value)}"
