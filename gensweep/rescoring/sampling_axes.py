"""Scores trained models with the sampling settings that options name: parses, shows progress, files and prints."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from gensweep.errors import ConfigError, GensweepError
from gensweep.report.completion import sampler_names
from gensweep.report.output import print_rows, print_warnings, progress_bar
from gensweep.rescoring.sampling_results import SamplingResult, log_line, result_json, result_rows, result_words

if TYPE_CHECKING:
    from gensweep.rescoring.rescorer import Axes, Rescorer
    from gensweep.results import Outcome, SamplingConfig
    from gensweep.tracking.records import TrialRecord

C = TypeVar("C", bound=Callable[..., Any])

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
    trial: TrialRecord | None


def axes_options(command: C) -> C:
    """`--sampler`, `--steps`, `--guidance` and `--ema`, each a list with commas."""
    for name, metavar, words in reversed(OPTIONS):
        complete = sampler_names if name == "sampler" else None
        command = click.option(f"--{name}", metavar=metavar, shell_complete=complete, help=words)(command)
    return command


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


def parse_try(text: str) -> Axes:
    """The same from one text, such as "sampler=heun,ddim steps=10,20".  Raises ConfigError with all problems."""
    names = [name for name, _, _ in OPTIONS]
    pairs = [(word, *word.partition("=")) for word in text.split()]
    problems = [
        f"--try {word}: write NAME=VALUE,... with one of the names {', '.join(names)}"
        for word, name, equals, _ in pairs
        if name not in names or not equals
    ]
    if not pairs:
        problems.append("--try: is empty; write for example --try 'steps=10,20'")
    if problems:
        raise ConfigError(problems)
    return parse_axes({name: value for _, name, _, value in pairs})


def subject_of(run: str | TrialRecord, **settings: Any) -> Subject:
    """A trial, or what a person means by a run or a checkpoint folder; the settings are those of `Rescorer`.

    Raises GensweepError if there is no such thing, or if its checkpoint was not kept.
    """
    from gensweep.rescoring.rescorer import Rescorer
    from gensweep.tracking.runs import checkpoint_folder, find_trial, names_folder

    if isinstance(run, str) and names_folder(run):
        return Subject(run, Rescorer(checkpoint_folder(Path(run)), **settings), None)
    trial = find_trial(run) if isinstance(run, str) else run
    return Subject(trial.name, Rescorer(checkpoint_folder(trial), **settings), trial)


def rescore(subjects: Sequence[Subject], axes: Axes, command: str | None = None) -> list[SamplingResult]:
    """Score every subject with every combination of the values; the scores come in the order of the values.

    All combinations are checked before the first is scored.  What is done is kept beside the checkpoint and filed under
    the run, also if the person stops it; the `command` goes on then, by default the one that runs.
    """
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.tracking.provenance import command_line

    wanted = [(subject, subject.model.configs(axes)) for subject in subjects]
    trials = (subject.model.trial_of(each) for subject, configs in wanted for each in configs)
    print_warnings(sampler_warnings(trials))
    command = command or command_line()
    return [score for subject, configs in wanted for score in _rescore(subject, configs, command)]


def _rescore(subject: Subject, configs: Sequence[SamplingConfig], command: str) -> list[SamplingResult]:
    from gensweep.sweep.cluster_task import ReturnedPath, SentPath, has_cluster, run_near_gpus
    from gensweep.training.result_files import SUSPECTS_FILE

    model = subject.model
    found: dict[SamplingConfig, SamplingResult] = {}
    missing = model.missing(configs)
    if not missing:
        click.echo(f"{subject.name}: all known, from {model.file}", err=True)
    elif has_cluster():
        outcomes = run_near_gpus(
            score_folder, SentPath(model.folder), model.settings, configs, ReturnedPath(model.folder / SUSPECTS_FILE)
        )
        for outcome in outcomes:
            model.keep(outcome)
    try:
        with progress_bar(subject.name, sum(each.evaluations for each in missing) * model.drawn) as show:
            for outcome in model.run(configs, show):
                found[outcome.sampling] = score = _score(subject, outcome)
                if outcome.sampling in missing and not sys.stderr.isatty():
                    click.echo(log_line(score), err=True)
    except KeyboardInterrupt:
        click.echo(f"What was scored is kept; to go on: {command}", err=True)
        raise
    finally:
        _file(subject)
    return [found[each] for each in configs]


def score_folder(
    folder: Path, settings: Mapping[str, Any], configs: Sequence[SamplingConfig], suspects: Path
) -> list[Outcome]:
    """Score the model in a checkpoint folder, on the node where this runs; pictures of suspects go to a file."""
    from gensweep.rescoring.rescorer import Rescorer
    from gensweep.training.result_files import SUSPECTS_FILE

    model = Rescorer(folder, **settings)
    missing = model.missing(configs)
    with progress_bar(folder.name, sum(each.evaluations for each in missing) * model.drawn) as show:
        outcomes = list(model.run(configs, show))
    if (folder / SUSPECTS_FILE).is_file():
        shutil.copyfile(folder / SUSPECTS_FILE, suspects)
    return outcomes


def _score(subject: Subject, outcome: Outcome) -> SamplingResult:
    """The outcome as a row of the table; the score to look at is that of the sweep's metric, if there is one."""
    objective = None if subject.trial is None else subject.trial.objective
    metric = objective.metric if objective and objective.metric in outcome.scores else next(iter(outcome.scores))
    return SamplingResult(subject.name, outcome, subject.model.overrides(outcome.sampling), metric)


def _file(subject: Subject) -> None:
    from gensweep.tracking.sync import file_outcomes

    if subject.trial is None or not (outcomes := subject.model.known()):
        return
    try:
        file_outcomes(subject.trial, subject.model.checkpoint.images, outcomes)
    except GensweepError as error:
        click.echo(f"Note: {error}", err=True)


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
