"""`gensweep evaluate` for images and generators of other programs: score them, print, and file the score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from gensweep.build.parts import default_device
from gensweep.config import load_trial, parse_overrides
from gensweep.config.tree import override_all
from gensweep.errors import ConfigError
from gensweep.imported.exported import ExportedGenerator
from gensweep.imported.filing import file_entry, taken
from gensweep.imported.import_options import ImportedOptions
from gensweep.imported.protocols import EvaluationProtocol, only_protocol, protocol_of
from gensweep.imported.scoring import ImportedEvaluation, evaluate_folder, evaluate_generator
from gensweep.imported.summary import imported_json, imported_rows, words
from gensweep.report.output import print_rows
from gensweep.tracking.store import check_server
from gensweep.tracking.sweeps import Sweep
from gensweep.training.evaluation import write_grid, write_pairs

__all__ = ["evaluate_imported"]


def evaluate_imported(
    folder: Path | None, options: ImportedOptions, *, samples: int | None, seed: int, format: str
) -> None:
    """Score a folder, or a generator if there is none; print the score, and file it if it has a name."""
    options.check(folder, seed)
    if options.name is not None or options.like is not None:
        check_server()
    old = [] if options.name is None else taken(options.name, replace=options.replace)
    protocol = _protocol(options, samples)
    if options.suspects is not None and "authpct" not in protocol.tree()["evaluation"]["metrics"]:
        raise ConfigError("--suspects: no metric looks for copies; add --set evaluation.metrics=[fd,authpct]")
    evaluation, notes = _evaluate(folder, options, protocol, seed)
    if options.suspects is not None and evaluation.result.suspects is not None:
        write_pairs(evaluation.result.suspects, options.suspects)
        click.echo(f"Picture: {options.suspects}", err=True)
    run, metric = options.name or str(folder or options.torchscript), protocol.metric
    table = format == "table"
    print_rows(imported_rows(run, evaluation, metric) if table else [imported_json(run, evaluation, metric)], format)
    for line in (*(f"Note: {note}" for note in (*notes, *evaluation.notes)), *words(evaluation, metric)):
        click.echo(line, err=True)
    if options.name is None:
        click.echo("Not filed; --name NAME files it for gensweep best --compare.", err=True)
    else:
        _file(options.name, evaluation, protocol, old)
        click.echo(f"Filed as {options.name}. Next: gensweep best --compare", err=True)


def _evaluate(
    folder: Path | None, options: ImportedOptions, protocol: EvaluationProtocol, seed: int
) -> tuple[ImportedEvaluation, tuple[str, ...]]:
    """The evaluation, and notes on the real images."""
    device = default_device()
    if folder is not None:
        evaluator, notes = protocol.evaluator(device)
        with _bar(str(folder), 2 * evaluator.samples) as progress:  # reading counts, too
            return evaluate_folder(folder, evaluator, device, progress=progress), notes
    assert options.torchscript is not None
    assert options.latent is not None
    generator = ExportedGenerator(
        options.torchscript,
        latent=options.latent,
        classes=options.classes,
        output_range=options.output_range,
        device=device,
    )
    evaluator, notes = protocol.evaluator(device)
    with _bar(str(options.torchscript), evaluator.samples) as progress:
        return evaluate_generator(generator, evaluator, seed=seed, progress=progress), notes


def _file(name: str, evaluation: ImportedEvaluation, protocol: EvaluationProtocol, old: Sequence[Sweep]) -> None:
    with TemporaryDirectory(prefix="gensweep-") as temporary:
        pictures = {"samples": Path(temporary) / "samples.png"}
        write_grid(evaluation.result.shown, pictures["samples"])
        if evaluation.result.suspects is not None:
            pictures["suspects"] = Path(temporary) / "suspects.png"
            write_pairs(evaluation.result.suspects, pictures["suspects"])
        file_entry(name, evaluation, protocol, pictures, old)


def _protocol(options: ImportedOptions, samples: int | None) -> EvaluationProtocol:
    """The protocol of a run or of a file, the only one that there is, or one that the options spell out."""
    changes = _changes(options, parse_overrides(options.overrides), samples)
    trial = None
    if options.like is not None:
        trial, protocol = protocol_of(options.like)
    elif options.config is not None:
        tree = load_trial(options.config).as_dict()
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


def _changes(options: ImportedOptions, changes: dict[str, Any], samples: int | None) -> dict[str, Any]:
    """`--set`, `--samples` and `--against` as dotted keys."""
    if other := [key for key in changes if key.partition(".")[0] not in ("data", "evaluation")]:
        raise ConfigError([f"--set {key}: only data.* and evaluation.* say how images are evaluated" for key in other])
    if samples is not None:
        changes["evaluation.samples"] = samples
    if options.metrics:
        changes["evaluation.metrics"] = list(options.metrics)
    if options.against is not None and not options.against.endswith("/"):
        changes["evaluation.against"] = options.against
    elif options.against is not None:
        real = {"data.kind": "image_folder", "data.path": options.against, "data.test_fraction": 0}
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
