"""Scores images and generators of other programs, prints the score, and files it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import click
import torch

from gensweep.build.parts import load_images
from gensweep.config import parse_overrides
from gensweep.data.image_folder import check_one_set
from gensweep.errors import ConfigError
from gensweep.extras.imported.command import ImportedOptions, is_pipeline
from gensweep.extras.imported.exported import ExportedGenerator
from gensweep.extras.imported.pipelines import DiffusersPipeline
from gensweep.extras.imported.protocols import EvaluationProtocol, trial_to_follow
from gensweep.extras.imported.scoring import ImportedEvaluation, evaluate_folder, evaluate_generator
from gensweep.files import replace_folder
from gensweep.report.output import print_rows, progress_bar
from gensweep.results import Cost, Evaluation
from gensweep.sweep.events import Created, Ended, Evaluated, SessionEnded, SessionStarted, Started, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.provenance import git_state, provenance_tags
from gensweep.sweep.stored_sweeps import trial_config
from gensweep.tracking.sync import sync_all
from gensweep.training.device import default_device
from gensweep.training.result_files import write_pictures

#: The only trial of an entry.
TRIAL = "t0000"
#: The folder of all sweeps.
ROOT = Path("sweeps")


def evaluate_imported(options: ImportedOptions, format: str) -> None:
    """Score a folder, or a generator if there is none; print the score, and file it if it has a name."""
    if options.name is not None:
        _check_name(options.name, replace=options.replace)
    protocol = _protocol(options, _changes(options))
    device = default_device()
    evaluation = _evaluate(options, protocol, device)
    run, metric = options.name or str(options.folder or options.torchscript), protocol.metric
    row = evaluation.row(run, metric) if format == "table" else evaluation.as_json(run, metric, device)
    print_rows([row], format)
    notes = (*evaluation.evaluator.images.notes, *evaluation.notes)
    for line in (*(f"Note: {note}" for note in notes), *evaluation.words(metric)):
        click.echo(line, err=True)
    if options.name is None:
        click.echo("Not filed; --name NAME files it for gensweep best --compare.", err=True)
    else:
        _file_entry(options.name, evaluation, protocol)
        click.echo(f"Filed as {options.name}. Next: gensweep best --compare", err=True)


def _evaluate(options: ImportedOptions, protocol: EvaluationProtocol, device: torch.device) -> ImportedEvaluation:
    folder = options.folder
    source: DiffusersPipeline | ExportedGenerator | None = None
    if folder is None:
        assert options.torchscript is not None
        assert options.latent is not None
        source = ExportedGenerator(
            options.torchscript, device, options.latent, classes=options.classes, output_range=options.output_range
        )
    elif is_pipeline(folder):
        call = parse_overrides(options.call)
        source = DiffusersPipeline(folder, device, trusted=options.trust, classes=options.classes, call=call)
    evaluator = protocol.evaluator(device)
    steps = evaluator.samples * (2 if source is None else 1)  # reading a picture counts, too
    with progress_bar(str(folder or options.torchscript), steps) as progress:
        if source is not None:
            return evaluate_generator(source, evaluator, options.seed, progress)
        assert folder is not None
        return evaluate_folder(folder, evaluator, device, progress)


def _protocol(options: ImportedOptions, changes: dict[str, Any]) -> EvaluationProtocol:
    """The protocol of a run, the only one that there is, or one that the options spell out."""
    if options.like is None and "data.kind" in changes:
        return EvaluationProtocol.of({"data": {"kind": changes["data.kind"]}, "evaluation": {}}, changes)
    trial, identity = trial_to_follow(options.like)
    click.echo(f"Evaluated as {trial.name} was{', with changes' if changes else ''}.", err=True)
    metrics = changes.get("evaluation.metrics")
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


def _changes(options: ImportedOptions) -> dict[str, Any]:
    """`--set`, `--samples`, `--metrics` and `--against` as dotted keys."""
    changes = parse_overrides(options.overrides)
    if other := [key for key in changes if key.partition(".")[0] not in ("data", "evaluation")]:
        raise ConfigError([f"--set {key}: only data.* and evaluation.* say how images are evaluated" for key in other])
    if options.samples is not None:
        changes["evaluation.samples"] = options.samples
    if options.metrics:
        changes["evaluation.metrics"] = options.metrics
    if options.against is not None and not options.against.endswith("/"):
        changes["evaluation.against"] = options.against
    elif options.against is not None:
        check_one_set(options.against)
        real = {"data.kind": "image_folder", "data.path": options.against, "data.test_fraction": 0}
        changes = real | {"evaluation.against": "train"} | changes
    return changes


def _check_name(name: str, *, replace: bool) -> None:
    """Raises ConfigError if an entry cannot have that name, or if it replaces an entry only with `replace`."""
    folder = SweepFolder(ROOT, name)
    if not folder.path.exists():
        return
    trials = folder.state().trials.values() if folder.exists else ()
    if not trials or not all(trial.imported for trial in trials):
        raise ConfigError(f"--name {name}: {folder.path} was not made by gensweep evaluate-images; choose another name")
    if not replace:
        raise ConfigError(f"--name {name} is taken; choose another name, or give --replace to put this in its place")


def _file_entry(name: str, imported: ImportedEvaluation, protocol: EvaluationProtocol) -> None:
    """File scores under a name, with pictures of the first images, in place of an older entry of that name."""
    result = imported.result
    tree = {"seed": imported.seed, **protocol.sections(), "family": dict(imported.origin)}
    cost = Cost(
        sample_seconds=imported.sample_seconds, evaluate_seconds=result.evaluate_seconds, params=imported.params
    )
    evaluation = Evaluation(0, result.scores, cost, result.signals)
    ROOT.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}-", dir=ROOT) as aside:
        folder = SweepFolder(Path(aside), name)
        folder.create({"sweep": {"name": name, "base": tree}})
        mode = result.scores[protocol.metric].mode
        for event in (
            Created(uuid4().hex, name, protocol.metric, mode, trials=1, keep_best=0),
            SessionStarted(1, provenance_tags(git_state(), {"base": tree})),
            Suggested(TRIAL, 0, {}, {}, tree),
            Started(TRIAL),
            Evaluated(TRIAL, evaluation, None),
            Ended(TRIAL, "finished"),
            SessionEnded("finished"),
        ):
            folder.log.append(event)
        file_of = partial(folder.picture, TRIAL, evaluation.images)
        file_of("samples").parent.mkdir(parents=True, exist_ok=True)
        write_pictures(result, imported.evaluator.images, file_of)
        replace_folder(folder.path, ROOT / name)
    sync_all(ROOT)
