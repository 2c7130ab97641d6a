"""Scores trained models with the sampling settings that options name: parses, shows progress, files and prints."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gensweep.errors import ConfigError, GensweepError
from gensweep.metrics.titles import metric_title
from gensweep.report.export import score_json
from gensweep.report.output import option_bundle, print_warnings, progress_bar
from gensweep.report.wording import format_anchors, format_guess, format_identity, format_interval, score
from gensweep.results import Outcome, Score

if TYPE_CHECKING:
    from gensweep.rescoring.rescorer import Axes, Rescorer
    from gensweep.results import SamplingConfig
    from gensweep.sweep.trial_state import TrialState

OPTIONS = (
    ("sampler", "KIND,...", "Samplers to try, such as heun,dpmpp_2m."),
    ("steps", "N,...", "Numbers of steps to try; all is every step that there is."),
    ("guidance", "SCALE,...", "Scales of classifier-free guidance to try; 1 is plain conditional."),
    ("ema", "FACTOR,...", "Averaged weights to try, by multiples of training.ema_half_life: 0.25,1,4; raw for none."),
)


class Subject(NamedTuple):
    """A model to score: what the person calls it, how it is scored, and its trial unless it is only a folder."""

    name: str
    model: Rescorer
    trial: TrialState | None


#: `--sampler`, `--steps`, `--guidance` and `--ema`, each a list with commas.
axes_options = option_bundle(*(click.option(f"--{name}", metavar=value, help=words) for name, value, words in OPTIONS))


def parse_axes(texts: Mapping[str, str | None]) -> Axes:
    """Lists with commas, by the name of the option, as values.  Raises ConfigError with all problems."""
    from gensweep.rescoring.rescorer import Axes

    readers: dict[str, Callable[[str], Any]] = {"sampler": str, "steps": _steps, "guidance": _guidance, "ema": str}
    values: dict[str, list[Any]] = {}
    problems: list[str] = []
    for name, text in texts.items():
        parts = [part.strip() for part in (text or "").split(",") if part.strip()]
        if text is not None and not parts:
            problems.append(f"{name}={text}: give one value or several with commas between them")
        for part in parts:
            try:
                values.setdefault(name, []).append(readers[name](part))
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Axes(**{name: tuple(dict.fromkeys(found)) for name, found in values.items()})


def subject_of(run: str | TrialState, **settings: Any) -> Subject:
    """A trial, or what a person means by a run or a checkpoint folder; the settings are those of `Rescorer`.

    Raises GensweepError if there is no such thing, or if its checkpoint was not kept.
    """
    from gensweep.rescoring.rescorer import Rescorer
    from gensweep.sweep.stored_sweeps import find_trial, names_folder
    from gensweep.tracking.checkpoints import checkpoint_folder

    if isinstance(run, str) and names_folder(run):
        return Subject(run, Rescorer(checkpoint_folder(run), **settings), None)
    trial = find_trial(run) if isinstance(run, str) else run
    return Subject(trial.name, Rescorer(checkpoint_folder(trial), known=trial.outcomes, **settings), trial)


def rescore(subject: Subject, axes: Axes, command: str | None = None) -> list[SamplingResult]:
    """Score a subject with every combination of the values; the scores come in the order of the values.

    All combinations are checked before the first is scored.  The log of the sweep gets each score at once, so after an
    interruption the `command`, by default the running one, computes only the rest.
    """
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.sweep.cluster_task import ReturnedPath, SentPath, has_cluster, run_near_gpus
    from gensweep.sweep.provenance import command_line
    from gensweep.training.result_files import SUSPECTS_FILE

    model = subject.model
    configs = model.configs(axes)
    print_warnings(sampler_warnings(map(model.trial_of, configs)))
    found: dict[SamplingConfig, SamplingResult] = {}
    log = _log_of(subject)
    missing = model.missing(configs)
    if not missing:
        click.echo(f"{subject.name}: all known, from the log of the sweep", err=True)
    elif has_cluster():
        suspects = ReturnedPath(model.folder / SUSPECTS_FILE)
        outcomes = run_near_gpus(score_folder, SentPath(model.folder), model.settings, missing, suspects)
        model.known = [each for each in model.known if each.key not in {new.key for new in outcomes}] + outcomes
        for outcome in outcomes:
            log(outcome)
        missing = []
    try:
        with progress_bar(subject.name, sum(each.evaluations for each in missing) * model.drawn) as show:
            for outcome in model.run(configs, show):
                shown = subject.trial.metric if subject.trial else ""  # the sweep's metric, if it is there
                metric = shown if shown in outcome.scores else next(iter(outcome.scores))
                changes = model.overrides(outcome.sampling)
                found[outcome.sampling] = result = SamplingResult(subject.name, outcome, changes, metric)
                if outcome.sampling in missing:
                    log(outcome)
                    if not sys.stderr.isatty():
                        click.echo(one_line(result, ": "), err=True)
    except KeyboardInterrupt:
        click.echo(f"What was scored is kept; to go on: {command or command_line()}", err=True)
        raise
    return [found[each] for each in configs]


def _log_of(subject: Subject) -> Callable[[Outcome], None]:
    """A function that writes an outcome to the log of the subject's sweep, if there is one that can be written."""
    from gensweep.files import cache_folder
    from gensweep.sweep.events import ScoredAgain

    trial = subject.trial
    if trial is None or trial.folder is None:
        return lambda outcome: None
    log, name, images = trial.folder.log, trial.trial, subject.model.checkpoint.images
    if trial.folder.path.is_relative_to(cache_folder()):
        click.echo(f"Note: {subject.name} was read from a storage, whose log does not get these scores", err=True)
        return lambda outcome: None

    def write(outcome: Outcome) -> None:
        try:
            log.append(ScoredAgain(name, outcome, images))
        except GensweepError as error:
            click.echo(f"Note: {error}", err=True)

    return write


def score_folder(
    folder: Path, settings: Mapping[str, Any], configs: Sequence[SamplingConfig], suspects: Path
) -> list[Outcome]:
    """Score the model in a checkpoint folder, on the node where this runs; pictures of suspects go to a file."""
    from gensweep.rescoring.rescorer import Rescorer
    from gensweep.training.result_files import SUSPECTS_FILE

    model = Rescorer(folder, **settings)
    with progress_bar(folder.name, sum(each.evaluations for each in configs) * model.drawn) as show:
        outcomes = list(model.run(configs, show))
    if (folder / SUSPECTS_FILE).is_file():
        shutil.copyfile(folder / SUSPECTS_FILE, suspects)
    return outcomes


def _steps(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"steps={text}: give whole numbers from 1, such as 10,20,50, or all")
    return int(text)


def _guidance(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 <= scale < math.inf:
        raise ConfigError(f"guidance={text}: give numbers from 0, such as 1,2")
    return scale


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
    best = _best(results)
    intervals = any(each.score.interval for each in results)
    rows = []
    for each in results:
        sampling, outcome = each.outcome.sampling, each.outcome
        scores = sorted(outcome.scores.values(), key=lambda score: score.metric != each.metric)
        rows.append(
            {
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
    sampling, plural = result.outcome.sampling, "s" * (result.evaluations != 1)
    parts = [
        result.run,
        sampling.sampler or "",
        f"{'all' if sampling.steps is None else sampling.steps} steps" if sampling.sampler else "",
        "" if sampling.guidance is None else f"guidance {sampling.guidance:g}",
        f"{sampling.weights} weights",
        f"{result.evaluations} network evaluation{plural} an image",
    ]
    title = metric_title(result.metric, result.score.identity)
    return f"{', '.join(filter(None, parts))}{separator}{title} {score(result.score.value)}"
