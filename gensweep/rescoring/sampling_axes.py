"""Scores trained models with the sampling settings that options name: parses, shows progress, files and prints."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gensweep.errors import ConfigError, GensweepError
from gensweep.report.output import option_bundle, print_rows, print_warnings, progress_bar
from gensweep.rescoring.sampling_results import SamplingResult, one_line, result_json, result_rows, result_words

if TYPE_CHECKING:
    from gensweep.rescoring.rescorer import Axes, Rescorer
    from gensweep.results import Outcome, SamplingConfig
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
    from gensweep.run.near_gpus import ReturnedPath, SentPath, has_cluster, run_near_gpus
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
                found[outcome.sampling] = score = _score(subject, outcome)
                if outcome.sampling in missing:
                    log(outcome)
                    if not sys.stderr.isatty():
                        click.echo(one_line(score, ": "), err=True)
    except KeyboardInterrupt:
        click.echo(f"What was scored is kept; to go on: {command or command_line()}", err=True)
        raise
    return [found[each] for each in configs]


def _log_of(subject: Subject) -> Callable[[Outcome], None]:
    """A function that writes an outcome to the log of the subject's sweep, if there is one that can be written."""
    from gensweep.cache import cache_folder
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


def _score(subject: Subject, outcome: Outcome) -> SamplingResult:
    """The outcome as a row of the table; the score to look at is that of the sweep's metric, if there is one."""
    trial = subject.trial
    metric = trial.metric if trial and trial.metric in outcome.scores else next(iter(outcome.scores))
    return SamplingResult(subject.name, outcome, subject.model.overrides(outcome.sampling), metric)


def print_scores(scores: Sequence[SamplingResult], format: str) -> None:
    """The rows to stdout, and what they say to stderr."""
    print_rows(result_rows(scores) if format == "table" else result_json(scores), format)
    for line in result_words(scores):
        click.echo(line, err=True)


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
