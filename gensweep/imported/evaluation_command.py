"""`gensweep evaluate` for images and generators of other programs: score them, print, and file the score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch

from gensweep.build.parts import load_images
from gensweep.config import load_trial, parse_overrides
from gensweep.data.image_folder import check_one_set
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import write_problem
from gensweep.imported.exported import ExportedGenerator
from gensweep.imported.filing import file_entry, taken
from gensweep.imported.import_options import ImportedOptions, is_pipeline
from gensweep.imported.pipelines import DiffusersPipeline
from gensweep.imported.protocols import EvaluationProtocol, trial_to_follow
from gensweep.imported.scoring import ImportedEvaluation, evaluate_folder, evaluate_generator
from gensweep.report.output import print_rows, progress_bar
from gensweep.tracking.artifacts import trial_config
from gensweep.tracking.store_check import check_server
from gensweep.training.device import default_device
from gensweep.training.result_files import write_pairs


def evaluate_imported(
    folder: Path | None, options: ImportedOptions, *, samples: int | None, seed: int, format: str
) -> None:
    """Score a folder, or a generator if there is none; print the score, and file it if it has a name."""
    options.check(folder, seed)
    if options.name is not None or options.like is not None:
        check_server()
    old = [] if options.name is None else taken(options.name, replace=options.replace)
    protocol = _protocol(options, _changes(options, samples))
    if options.suspects is not None and "authpct" not in protocol.sections()["evaluation"]["metrics"]:
        raise ConfigError("--suspects: no metric looks for copies; add --set evaluation.metrics=[fd,authpct]")
    if options.suspects is not None and (problem := write_problem(options.suspects.parent)) is not None:
        raise GensweepError(f"--suspects {options.suspects}: {problem}")
    device = default_device()
    evaluation = _evaluate(folder, options, protocol, seed, device)
    run, metric = options.name or str(folder or options.torchscript), protocol.metric
    row = evaluation.row(run, metric) if format == "table" else evaluation.as_json(run, metric, device)
    print_rows([row], format)
    notes = (*evaluation.evaluator.images.notes, *evaluation.notes)
    for line in (*(f"Note: {note}" for note in notes), *evaluation.words(metric)):
        click.echo(line, err=True)
    if options.suspects is not None and evaluation.result.suspects is not None:
        options.suspects.parent.mkdir(parents=True, exist_ok=True)
        write_pairs(evaluation.result.suspects, options.suspects)
        click.echo(f"Picture: {options.suspects}", err=True)
    if options.name is None:
        click.echo("Not filed; --name NAME files it for gensweep best --compare.", err=True)
    else:
        file_entry(options.name, evaluation, protocol, old)
        click.echo(f"Filed as {options.name}. Next: gensweep best --compare", err=True)


def _evaluate(
    folder: Path | None, options: ImportedOptions, protocol: EvaluationProtocol, seed: int, device: torch.device
) -> ImportedEvaluation:
    if folder is not None and is_pipeline(folder):
        pipeline = DiffusersPipeline(
            folder, device, trusted=options.trust, classes=options.classes, call=parse_overrides(options.call)
        )
        evaluator = protocol.evaluator(device)
        with progress_bar(str(folder), evaluator.samples) as progress:
            return evaluate_generator(pipeline, evaluator, seed, progress)
    if folder is not None:
        evaluator = protocol.evaluator(device)
        with progress_bar(str(folder), 2 * evaluator.samples) as progress:  # reading counts, too
            return evaluate_folder(folder, evaluator, device, progress)
    file, latent = options.torchscript, options.latent
    assert file is not None
    assert latent is not None
    generator = ExportedGenerator(file, device, latent, classes=options.classes, output_range=options.output_range)
    evaluator = protocol.evaluator(device)
    with progress_bar(str(file), evaluator.samples) as progress:
        return evaluate_generator(generator, evaluator, seed, progress)


def _protocol(options: ImportedOptions, changes: dict[str, Any]) -> EvaluationProtocol:
    """The protocol of a run or of a file, the only one that there is, or one that the options spell out."""
    if options.config is not None:
        tree = load_trial(options.config).as_dict()
        weights = "ema" if tree["training"]["ema_half_life"] else "raw"
        return EvaluationProtocol.of(_followed(tree, options), changes, weights=weights)
    if options.like is None and "data.kind" in changes:
        return EvaluationProtocol.of({"data": {"kind": changes["data.kind"]}, "evaluation": {}}, changes)
    trial = trial_to_follow(options.like)
    assert trial.objective is not None
    click.echo(f"Evaluated as {trial.name} was{', with changes' if changes else ''}.", err=True)
    identity, metrics = trial.objective.identity, changes.get("evaluation.metrics")
    metric = identity.metric if metrics is None or identity.metric in metrics else None
    followed = _followed(trial_config(trial), options)
    return EvaluationProtocol.of(followed, changes, metric=metric, weights=identity.weights)


def _followed(tree: Mapping[str, Any], options: ImportedOptions) -> Mapping[str, Any]:
    """A trial's values; with a folder to compare with, of its data only the shape of the images."""
    if options.against is None or not options.against.endswith("/"):
        return tree
    shape = {key: tree["data"][key] for key in ("size", "channels") if key in tree["data"]}
    if len(shape) < 2:
        images = load_images(EvaluationProtocol.of(tree, {}).config)
        shape = {"size": images.size, "channels": images.channels}
    return {**tree, "data": {"kind": "image_folder", **shape}}


def _changes(options: ImportedOptions, samples: int | None) -> dict[str, Any]:
    """`--set`, `--samples`, `--metrics` and `--against` as dotted keys."""
    changes = parse_overrides(options.overrides)
    if other := [key for key in changes if key.partition(".")[0] not in ("data", "evaluation")]:
        raise ConfigError([f"--set {key}: only data.* and evaluation.* say how images are evaluated" for key in other])
    if samples is not None:
        changes["evaluation.samples"] = samples
    if options.metrics:
        changes["evaluation.metrics"] = list(options.metrics)
    if options.against is not None and not options.against.endswith("/"):
        changes["evaluation.against"] = options.against
    elif options.against is not None:
        check_one_set(options.against)
        real = {"data.kind": "image_folder", "data.path": options.against, "data.test_fraction": 0}
        changes = real | {"evaluation.against": "train"} | changes
    return changes
