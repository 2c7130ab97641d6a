"""Scoring what was not trained here: options, what it is judged by, and filing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gensweep.errors import ConfigError
from gensweep.report.output import print_rows

if TYPE_CHECKING:
    from gensweep.imported.protocols import EvaluationProtocol

__all__ = ["ImportedOptions", "evaluate_imported", "imported_options"]

C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True)
class ImportedOptions:
    """The options that are for imported images alone, as the user gave them."""

    name: str | None
    replace: bool
    torchscript: Path | None
    latent: tuple[int, ...] | None
    classes: int | None
    output_range: tuple[float, float] | None
    like: str | None
    config: Path | None
    suspects: Path | None
    overrides: tuple[str, ...]
    against: str | None = None
    metrics: tuple[str, ...] = ()

    def given(self) -> list[str]:
        """Those that were given and belong to imported images alone, as one would type them."""
        return [
            f"--{'set' if key == 'overrides' else key.replace('_', '-')}"
            for key, value in vars(self).items()
            if value and key not in ("against", "metrics")
        ]


def imported_options(command: C) -> C:
    """The options of `ImportedOptions`, handed to the command one by one."""
    file = click.Path(path_type=Path, dir_okay=False)
    options = [
        click.option("--name", help="File the score of FOLDER or --torchscript in MLflow, for best --compare."),
        click.option("--replace", is_flag=True, help="With --name: put it in the place of what was filed before."),
        click.option("--torchscript", type=file, metavar="FILE", help="Score an exported generator. Its code is run!"),
        click.option(
            "--latent", callback=_latent, metavar="N[,N...]", help="With --torchscript: shape of z, as 512 or 100,1,1."
        ),
        click.option(
            "--classes", type=click.IntRange(1), metavar="K", help="With --torchscript: it takes labels, too."
        ),
        click.option(
            "--output-range",
            callback=_range,
            metavar="LOW,HIGH",
            help="With --torchscript: what black and white are.  [default: -1,1]",
        ),
        click.option("--like", metavar="RUN", help="Evaluate FOLDER or --torchscript as this run was."),
        click.option(
            "--config", type=file, metavar="FILE", help="... or by the data and evaluation of this YAML file."
        ),
        click.option(
            "--suspects",
            type=file,
            metavar="FILE",
            help="With the metric authpct: draw the likeliest copies beside their originals, to a .png file.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="... with one data or evaluation value changed.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def evaluate_imported(
    folder: Path | None, asked: ImportedOptions, *, samples: int | None, seed: int, format: str
) -> None:
    """Score a folder, or a generator if there is none; print the score, and file it if it has a name."""
    from gensweep.build.parts import default_device
    from gensweep.imported.exported import ExportedGenerator
    from gensweep.imported.scoring import evaluate_folder, evaluate_generator
    from gensweep.imported.summary import imported_json, imported_rows, words
    from gensweep.tracking.entries import file_entry, taken
    from gensweep.tracking.writer import check_server

    _check(folder, asked, seed)
    if asked.name is not None or asked.like is not None:
        check_server()
    old = [] if asked.name is None else taken(asked.name, replace=asked.replace)
    protocol, device = _protocol(asked, samples), default_device()
    generator = None
    if asked.torchscript is not None and asked.latent is not None:
        settings: Any = {"classes": asked.classes, "output_range": asked.output_range, "device": device}
        generator = ExportedGenerator(asked.torchscript, latent=asked.latent, **settings)
    if asked.suspects is not None and "authpct" not in protocol.tree()["evaluation"]["metrics"]:
        raise ConfigError("--suspects: no metric looks for copies; add --set evaluation.metrics=[fd,authpct]")
    evaluator, notes = protocol.evaluator(device)
    with _bar(str(folder or asked.torchscript), evaluator.samples * (2 if generator is None else 1)) as progress:
        if generator is None:
            assert folder is not None
            judged = evaluate_folder(folder, evaluator, device, progress=progress)
        else:
            judged = evaluate_generator(generator, evaluator, seed=seed, progress=progress)
    if asked.suspects is not None and judged.result.suspects is not None:
        from gensweep.training.evaluation import write_pairs

        write_pairs(judged.result.suspects, asked.suspects)
        click.echo(f"Picture: {asked.suspects}", err=True)
    run = asked.name or str(folder or asked.torchscript)
    print_rows(
        imported_rows(run, judged, protocol.metric)
        if format == "table"
        else [imported_json(run, judged, protocol.metric)],
        format,
    )
    for line in (*(f"Note: {note}" for note in (*notes, *judged.notes)), *words(judged, protocol.metric)):
        click.echo(line, err=True)
    if asked.name is None:
        click.echo("Not filed; --name NAME files it for gensweep best --compare.", err=True)
        return
    with TemporaryDirectory(prefix="gensweep-") as place:
        from gensweep.training.evaluation import write_grid, write_pairs

        grid = Path(place) / "samples.png"
        write_grid(judged.result.shown, grid)
        if judged.result.suspects is not None:
            write_pairs(judged.result.suspects, grid.with_name("suspects.png"))
        file_entry(asked.name, judged, protocol, grid, old)
    click.echo(f"Filed as {asked.name}. Next: gensweep best --compare", err=True)


def _latent(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Shape of z, from a text such as "512" or "100,1,1"."""
    try:
        shape = None if text is None else tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = (0,)
    if shape is not None and min(shape) < 1:
        raise click.BadParameter(f"{text}: give whole numbers from 1, such as 512 or 100,1,1")
    return shape


def _range(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, float] | None:
    """Two numbers, from a text such as "0,255"."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise click.BadParameter(f"{text}: give two numbers that rise, such as 0,1 or 0,255")
    return low, high


def _check(folder: Path | None, asked: ImportedOptions, seed: int) -> None:
    """Raise ConfigError for options that do not fit together."""
    problems = []
    if folder is not None:
        problems += [
            f"--{name.replace('_', '-')} belongs to a generator: give --torchscript FILE instead of a folder"
            for name in ("latent", "classes", "output_range")
            if getattr(asked, name) is not None
        ]
        problems += [f"--seed {seed}: the pictures of a folder are drawn already; leave it out"] if seed else []
    elif asked.latent is None:
        problems.append("--torchscript needs the length of z, or its shape: --latent 512")
    if asked.like is not None and asked.config is not None:
        problems.append("--like and --config both say what to judge by; leave one of them out")
    if asked.suspects is not None and asked.suspects.suffix.lower() != ".png":
        problems.append(f"--suspects {asked.suspects}: the name must end in .png")
    if asked.replace and asked.name is None:
        problems.append("--replace needs --name NAME")
    if problems:
        raise ConfigError(problems)


def _protocol(asked: ImportedOptions, samples: int | None) -> EvaluationProtocol:
    """What the images are judged by: a run's protocol or a file's, the only one there is, or one that is spelt out."""
    from gensweep.config import load_trial, parse_overrides
    from gensweep.config.tree import override_all
    from gensweep.imported.protocols import EvaluationProtocol, only_protocol, protocol_of

    changes = _changes(asked, parse_overrides(asked.overrides), samples)
    trial = None
    if asked.like is not None:
        trial, protocol = protocol_of(asked.like)
    elif asked.config is not None:
        tree = load_trial(asked.config).as_dict()
        protocol = EvaluationProtocol(
            tree["data"], tree["evaluation"], weights="ema" if tree["training"]["ema_half_life"] else "raw"
        )
    elif "data.kind" in changes:
        protocol = EvaluationProtocol({"kind": changes["data.kind"]}, {})
    else:
        trial, protocol = only_protocol()
    if trial is not None:
        click.echo(f"Evaluated as {trial.name} was{', with changes' if changes else ''}.", err=True)
    tree = override_all({"data": protocol.data, "evaluation": protocol.evaluation}, changes)
    changed = EvaluationProtocol(tree["data"], tree["evaluation"], protocol.metric, protocol.weights)
    # Without a run that has an objective, the first metric is the main one, as in a training without a sweep.
    return changed if trial is not None else replace(changed, metric=changed.tree()["evaluation"]["metrics"][0])


def _changes(asked: ImportedOptions, changes: dict[str, Any], samples: int | None) -> dict[str, Any]:
    """`--set`, `--samples` and `--against` as dotted keys."""
    if strangers := [key for key in changes if key.partition(".")[0] not in ("data", "evaluation")]:
        raise ConfigError(
            [f"--set {key}: only data.* and evaluation.* say what images are judged by" for key in strangers]
        )
    if samples is not None:
        changes["evaluation.samples"] = samples
    if asked.metrics:
        changes["evaluation.metrics"] = list(asked.metrics)
    if asked.against is not None and not asked.against.endswith("/"):
        changes["evaluation.against"] = asked.against
    elif asked.against is not None:
        real = {"data.kind": "image_folder", "data.path": asked.against, "data.test_fraction": 0}
        changes = real | {"evaluation.against": "train"} | changes
    return changes


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:3], TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)
