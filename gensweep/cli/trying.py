"""Trying ways to draw images for a person: options, a progress bar, and filing under the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from gensweep.errors import ConfigError, GensweepError

if TYPE_CHECKING:
    from gensweep.build.sampling_configs import Axes
    from gensweep.report.outcomes import Tried
    from gensweep.results import Outcome, SamplingConfig
    from gensweep.tracking.records import TrialRecord

__all__ = ["Subject", "axes_options", "parse_axes", "parse_try", "subject_of", "subject_of_trial", "try_for_a_person"]

C = TypeVar("C", bound=Callable[..., Any])

OPTIONS = (
    ("sampler", "KIND,...", "Samplers to try, such as heun,dpmpp_2m."),
    ("steps", "N,...", "Numbers of steps to try; all is every step that there is."),
    ("guidance", "SCALE,...", "Scales of classifier-free guidance to try; 1 is plain conditional."),
    ("ema", "FACTOR,...", "Averaged weights to try, by multiples of training.ema_half_life: 0.25,1,4; raw for none."),
)


class Subject(NamedTuple):
    """What is tried on: a checkpoint folder, what the person calls it, and its trial unless it is only a folder."""

    name: str
    folder: Path
    trial: TrialRecord | None


def axes_options(command: C) -> C:
    """`--sampler`, `--steps`, `--guidance` and `--ema`, each a list with commas."""
    for name, metavar, words in reversed(OPTIONS):
        command = click.option(f"--{name}", metavar=metavar, help=words)(command)
    return command


def parse_axes(values: dict[str, str | None]) -> Axes:
    """Lists with commas, by the name of the option, as values.  Raises ConfigError with all problems."""
    from gensweep.build.sampling_configs import Axes, weights_name

    lists = {name: [part.strip() for part in (text or "").split(",") if part.strip()] for name, text in values.items()}
    problems = [
        f"{name}={values[name]}: give one value or several with commas between them"
        for name, parts in lists.items()
        if values[name] is not None and not parts
    ]

    def read(name: str, reader: Callable[[str], Any], wanted: str) -> tuple[Any, ...]:
        found = []
        for part in lists.get(name, []):
            try:
                found.append(reader(part))
            except ValueError:
                problems.append(f"{name}={part}: give {wanted}")
            except ConfigError as error:
                problems.extend(error.problems)
        return tuple(dict.fromkeys(found))

    axes = Axes(
        samplers=tuple(dict.fromkeys(lists.get("sampler", []))),
        steps=read("steps", _steps, "whole numbers from 1, such as 10,20,50, or all"),
        guidance=read("guidance", _scale, "numbers from 0, such as 1,2"),
        averages=read("ema", lambda text: weights_name(text) and text, ""),
    )
    if problems:
        raise ConfigError(problems)
    return axes


def parse_try(text: str) -> Axes:
    """The same from one text, such as "sampler=heun,ddim steps=10,20".  Raises ConfigError with all problems."""
    names = [name for name, _, _ in OPTIONS]
    values: dict[str, str | None] = {}
    problems = []
    for word in text.split():
        name, equals, value = word.partition("=")
        if name not in names or not equals:
            problems.append(f"--try {word}: write NAME=VALUE,... with one of the names {', '.join(names)}")
        values[name] = value
    if not values:
        problems.append("--try: is empty; write for example --try 'steps=10,20'")
    if problems:
        raise ConfigError(problems)
    return parse_axes(values)


def subject_of(run: str) -> Subject:
    """What a person means by a run or a checkpoint folder.  Raises GensweepError if there is no such thing."""
    from gensweep.tracking.runs import checkpoint_folder, find_trial

    if Path(run).is_dir():
        return Subject(run, checkpoint_folder(run), None)
    return subject_of_trial(find_trial(run))


def subject_of_trial(trial: TrialRecord) -> Subject:
    """A trial's kept checkpoint.  Raises GensweepError if it was not kept."""
    from gensweep.tracking.runs import checkpoint_folder

    return Subject(trial.name, checkpoint_folder(trial), trial)


def try_for_a_person(
    subjects: Sequence[Subject],
    axes: Axes,
    *,
    samples: int | None = None,
    seed: int = 0,
    changed: Mapping[str, Any] = MappingProxyType({}),
) -> list[Tried]:
    """Try every combination on every subject; the outcomes come in the order of the values.

    `changed` are settings of the evaluation that are changed, by dotted key.

    All combinations are checked before the first is tried.  What is done is kept beside the checkpoint and filed under
    the run, also if the person stops it.
    """
    from gensweep.build.outcomes import known_outcomes
    from gensweep.build.sampling_configs import sampling_configs, sampling_overrides
    from gensweep.cli.running import warn_of_samplers
    from gensweep.config import TrialConfig
    from gensweep.training.checkpoint import read

    wanted = [
        sampling_configs(each.folder, axes, (outcome.sampling for outcome in known_outcomes(each.folder)))
        for each in subjects
    ]
    for subject, ways in zip(subjects, wanted, strict=True):
        trial = TrialConfig.from_dict(read(subject.folder).metadata)
        warn_of_samplers(trial.with_overrides(sampling_overrides(way, trial)) for way in ways)
    return [
        tried
        for subject, ways in zip(subjects, wanted, strict=True)
        for tried in _try(subject, ways, samples, seed, changed)
    ]


def _try(
    subject: Subject, ways: Sequence[SamplingConfig], samples: int | None, seed: int, changed: Mapping[str, Any]
) -> list[Tried]:
    from gensweep.build.outcomes import FILE, known_outcomes, samples_of, try_sampling_configs
    from gensweep.results import outcome_key

    count = samples or samples_of(subject.folder)
    before = {outcome.key for outcome in known_outcomes(subject.folder)}
    missing = [way for way in ways if outcome_key(way, count, seed, changed) not in before]
    if not missing:
        click.echo(f"{subject.name}: all known, from {subject.folder / FILE}", err=True)
    found = {}
    try:
        with _Bar(subject.name, missing, count) as bar:
            for outcome in try_sampling_configs(
                subject.folder, ways, samples=count, seed=seed, changed=changed, progress=bar.drawn
            ):
                found[outcome.sampling] = _tried(subject, outcome)
                bar.done(found[outcome.sampling])
    finally:
        if subject.trial is not None:
            _file(subject.trial, subject.folder)
    return [found[way] for way in ways]


def _tried(subject: Subject, outcome: Outcome) -> Tried:
    from gensweep.build.sampling_configs import sampling_overrides
    from gensweep.config import TrialConfig
    from gensweep.report.outcomes import Tried
    from gensweep.training.checkpoint import read

    objective = None if subject.trial is None else subject.trial.objective
    metric = (
        objective.metric if objective is not None and objective.metric in outcome.scores else next(iter(outcome.scores))
    )
    changes = sampling_overrides(outcome.sampling, TrialConfig.from_dict(read(subject.folder).metadata))
    return Tried(subject.name, outcome, changes, metric)


def _file(trial: TrialRecord, folder: Path) -> None:
    from gensweep.build.outcomes import known_outcomes
    from gensweep.tracking.sync import file_outcomes

    outcomes = known_outcomes(folder)
    if not outcomes:
        return
    try:
        file_outcomes(trial, outcomes)
    except GensweepError as error:
        click.echo(f"Note: {error}", err=True)


class _Bar:
    """Progress on stderr: on a terminal a bar over network evaluations, elsewhere a line for each way that is done."""

    def __init__(self, name: str, missing: Sequence[SamplingConfig], samples: int) -> None:
        self._name, self._samples, self._missing = name, samples, set(missing)
        self._total = sum(way.evaluations for way in missing) * samples
        self._finished = 0
        self._progress: Any = None

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import Progress, TimeRemainingColumn

        console = Console(stderr=True)
        if console.is_terminal and self._missing:
            self._progress = Progress(*Progress.get_default_columns()[:3], TimeRemainingColumn(), console=console)
            self._task = self._progress.add_task(self._name, total=self._total)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def drawn(self, way: SamplingConfig, images: int) -> None:
        """Some images of a way have been drawn."""
        if self._progress is not None:
            self._progress.update(self._task, completed=self._finished + way.evaluations * images)

    def done(self, tried: Tried) -> None:
        """A way is done."""
        from gensweep.report.outcomes import one_line

        if tried.outcome.sampling not in self._missing:
            return
        self._finished += tried.outcome.sampling.evaluations * self._samples
        if self._progress is not None:
            self._progress.update(self._task, completed=self._finished)
        else:
            click.echo(one_line(tried), err=True)


def _steps(text: str) -> int | None:
    if text == "all":
        return None
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _scale(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number
