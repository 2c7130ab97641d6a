"""Score images and pipelines of other programs, print the score, and save it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import click
import torch

from gensweep.build.model import in_batches
from gensweep.build.parts import build_evaluator, load_images
from gensweep.config import parse_overrides
from gensweep.config.tree import override_all
from gensweep.config.trial_config import common_sections
from gensweep.data.image_folder import check_one_set
from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.extras.imported.command import ImportedOptions, is_pipeline
from gensweep.extras.imported.pipelines import DiffusersPipeline
from gensweep.extras.imported.scoring import ImportedEvaluation, evaluate_folder, evaluate_pipeline
from gensweep.files import replace_folder
from gensweep.metrics.metric import METRICS
from gensweep.report.output import print_rows, progress_bar
from gensweep.report.wording import duration, format_identity
from gensweep.rescoring.panel import panel_rows, panel_samples, score_panel
from gensweep.results import Cost, Evaluation, Identity, Outcome, SamplingConfig
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.events import (
    Created,
    Ended,
    Evaluated,
    ScoredAgain,
    SessionEnded,
    SessionStarted,
    Started,
    Suggested,
)
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.provenance import git_state, provenance_tags
from gensweep.sweep.stored_sweeps import find_trial, import_plugins, load_sweeps, trial_config
from gensweep.sweep.trial_state import TrialState
from gensweep.tracking.sync import sync_all
from gensweep.training.device import default_device
from gensweep.training.evaluation import Evaluator
from gensweep.training.result_files import write_pictures

#: Name of the only trial of an entry.
TRIAL = "t0000"
#: Options for an evaluation without a run to follow.
SPELT_OUT = "--set data.kind=KIND, or --against FOLDER with real pictures"


def evaluate_imported(options: ImportedOptions, format: str) -> None:
    """Score a folder of pictures or a pipeline; print the score, and save it if it has a name."""
    if options.name is not None:
        _check_name(options.name, replace=options.replace)
    sections, metric, weights = _protocol(options, _changes(options))
    device = default_device()
    evaluation = _evaluate(options, _evaluator(sections, metric, weights, device), device)
    run = options.name or str(options.folder)
    panel = _score_by_panel(evaluation, sections, options.samples, weights, device) if options.panel else None
    if panel is not None:
        about = {} if format == "table" else {"run": run, "samples": panel.samples, "seed": panel.seed}
        print_rows([about | row for row in panel_rows(panel.scores, panel.signals)], format)
        click.echo(f"All measures of {panel.samples:,} images took {duration(panel.evaluate_seconds)}.", err=True)
    else:
        row = evaluation.row(run, metric) if format == "table" else evaluation.as_json(run, metric, device)
        print_rows([row], format)
    notes = [f"Note: {note}" for note in (*evaluation.evaluator.images.notes, *evaluation.notes)]
    for line in (*notes, *evaluation.format_lines(metric)):
        click.echo(line, err=True)
    if options.name is None:
        click.echo("Not saved; add --name NAME to save it for gensweep best --compare.", err=True)
    else:
        _file_entry(options.name, evaluation, sections, metric, panel)
        click.echo(f"Saved as {options.name}. Next: gensweep best --compare", err=True)


def _evaluate(options: ImportedOptions, evaluator: Evaluator, device: torch.device) -> ImportedEvaluation:
    folder = options.folder
    if not is_pipeline(folder):
        with progress_bar(str(folder), 2 * evaluator.samples) as progress:  # reading a picture counts too
            return evaluate_folder(folder, evaluator, device, progress)
    call = parse_overrides(options.call)
    source = DiffusersPipeline(folder, device, trusted=options.trust, classes=options.classes, call=call)
    with progress_bar(str(folder), evaluator.samples) as progress:
        return evaluate_pipeline(source, evaluator, options.seed, progress)


def _score_by_panel(
    evaluation: ImportedEvaluation, sections: Mapping[str, Any], samples: int | None, weights: str, device: torch.device
) -> Outcome:
    """Scores of the first images by all measures of the panel."""
    count = samples or panel_samples(common_sections(sections))
    return score_panel(
        lambda changes: common_sections(override_all(sections, changes)),
        evaluation.evaluator.images,
        in_batches(evaluation.draw, count, evaluation.evaluator.settings.batch_size, device, None),
        None if evaluation.labels is None else evaluation.labels[:count],
        Outcome(SamplingConfig(weights=weights), count, evaluation.seed, {}, 0, 0, device.type, "", 0, as_trained=True),
        device,
    )


def _protocol(options: ImportedOptions, changes: Mapping[str, Any]) -> tuple[dict[str, Any], str, str]:
    """Evaluation settings: those of a named run, of all runs if they agree, or from the options.

    These are the sections `data` and `evaluation`, the main metric, and the weights in the scores' identity.  Imported
    scores copy the latter to be ranked with runs, as only gensweep's models have averaged and raw weights.
    """
    if options.like is None and "data.kind" in changes:
        sections = _sections({"data": {"kind": changes["data.kind"]}, "evaluation": {}}, changes)
        return sections, sections["evaluation"]["metrics"][0], "ema"
    trial, identity = trial_to_follow(options.like)
    click.echo(f"Evaluated as {trial.name} was{', with changes' if changes else ''}.", err=True)
    tree = trial_config(trial)
    if options.against is not None and options.against.endswith("/"):  # the trial's data only give the shape of images
        shape = {key: tree["data"][key] for key in ("size", "channels") if key in tree["data"]}
        if len(shape) < 2:
            images = load_images(common_sections(_sections(tree, {})))
            shape = {"size": images.size, "channels": images.channels}
        tree = {**tree, "data": {"kind": "image_folder", **shape}}
    sections = _sections(tree, changes)
    metrics = sections["evaluation"]["metrics"]
    return sections, identity.metric if identity.metric in metrics else metrics[0], identity.weights


def _sections(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Data and evaluation settings of a trial with some changes, complete with defaults.

    Raises ConfigError with all problems.
    """
    names = ("data", "evaluation")
    whole = common_sections(override_all({name: tree[name] for name in names}, changes)).as_dict()
    return {name: whole[name] for name in names}


def _evaluator(sections: Mapping[str, Any], metric: str, weights: str, device: torch.device) -> Evaluator:
    """The evaluator, with sample metrics only."""
    names = [name for name in sections["evaluation"]["metrics"] if METRICS[name].needs == "samples"]
    if metric not in names:
        known = ", ".join(name for name in METRICS.kinds() if METRICS[name].needs == "samples")
        raise ConfigError(
            f"{metric} cannot be computed without a model (known: {known}); set evaluation.metrics=[fd], or "
            "name a run that has it with --like RUN"
        )
    trial = common_sections(override_all(sections, {"evaluation.metrics": names}))
    evaluator = build_evaluator(trial, load_images(trial), device)
    identities = {name: replace(each, weights=weights) for name, each in evaluator.identities.items()}
    return replace(evaluator, identities=identities)


def trial_to_follow(run: str | None) -> tuple[TrialState, Identity]:
    """A run named as in `find_trial`, and its score's identity; without a name, any run if all have the same.

    Raises GensweepError if there is no such run, ConfigError, with the choices, if none or several fit.
    """
    if run is not None:
        trial = find_trial(run)
        import_plugins(trial)
        if (identity := _samples_identity(trial)) is None:
            raise ConfigError(
                f"--like {run}: {trial.name} has no score of samples; name another run, or give {SPELT_OUT}"
            )
        return trial, identity
    newest: dict[Identity, TrialState] = {}
    with suppress(NothingToCompareError):
        trials = [trial for sweep in load_sweeps() for trial in sweep.trials if trial.status != "failed"]
        for trial in sorted(trials, key=lambda trial: trial.imported):
            if (identity := _samples_identity(trial)) is not None:
                newest.setdefault(identity, trial)
    if not newest:
        raise ConfigError(f"no run has a score yet, so name a reference for the images: {SPELT_OUT}")
    if len(newest) > 1:
        choices = ", or ".join(f"--like {trial.sweep} ({format_identity(each)})" for each, trial in newest.items())
        raise ConfigError(f"the runs have different evaluation settings; choose one: {choices}")
    ((identity, trial),) = newest.items()
    return trial, identity


def _samples_identity(trial: TrialState) -> Identity | None:
    """Identity of its best score, unless that is a likelihood."""
    score = trial.score
    return None if score is None or score.identity.timesteps is not None else score.identity


def _changes(options: ImportedOptions) -> dict[str, Any]:
    """`--set`, `--samples`, `--metrics` and `--against` as dotted keys."""
    changes = parse_overrides(options.overrides)
    if other := [key for key in changes if key.partition(".")[0] not in ("data", "evaluation")]:
        raise ConfigError([f"--set {key}: only data.* and evaluation.* can be set here" for key in other])
    given: dict[str, Any] = {"evaluation.samples": options.samples, "evaluation.metrics": options.metrics}
    if (against := options.against) is None or not against.endswith("/"):
        given["evaluation.against"] = against
        return changes | {key: value for key, value in given.items() if value}
    check_one_set(against)
    real = {"data.kind": "image_folder", "data.path": against, "data.test_fraction": 0, "evaluation.against": "train"}
    return real | changes | {key: value for key, value in given.items() if value}


def _check_name(name: str, *, replace: bool) -> None:
    """Raise ConfigError if an entry cannot have that name; existing entries need `replace`."""
    folder = SweepFolder(SWEEPS, name)
    if not folder.path.exists():
        return
    trials = folder.state().trials.values() if folder.exists else ()
    if not trials or not all(trial.imported for trial in trials):
        raise ConfigError(f"--name {name}: {folder.path} was not made by gensweep evaluate-images; choose another name")
    if not replace:
        raise ConfigError(f"--name {name} exists; choose another name, or add --replace")


def _file_entry(
    name: str, imported: ImportedEvaluation, sections: Mapping[str, Any], metric: str, panel: Outcome | None
) -> None:
    """Save scores under a name with pictures of the first images, replacing an older entry."""
    result = imported.result
    tree = {"seed": imported.seed, **sections, "family": dict(imported.origin)}
    drawing, scoring = imported.sample_seconds, result.evaluate_seconds
    cost = Cost(sample_seconds=drawing, evaluate_seconds=scoring, params=imported.params)
    evaluation = Evaluation(0, result.scores, cost, result.signals)
    SWEEPS.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}-", dir=SWEEPS) as aside:
        folder = SweepFolder(Path(aside), name)
        folder.create({"sweep": {"name": name, "base": tree}})
        mode = result.scores[metric].mode
        for event in (
            Created(uuid4().hex, name, metric, mode, trials=1, keep_best=0),
            SessionStarted(1, provenance_tags(git_state(), {"base": tree})),
            Suggested(TRIAL, 0, {}, {}, tree),
            Started(TRIAL),
            Evaluated(TRIAL, evaluation, None),
            Ended(TRIAL, "finished"),
            SessionEnded("finished"),
        ):
            folder.log.append(event)
        if panel is not None:
            folder.log.append(ScoredAgain(TRIAL, panel, 0))
        file_of = partial(folder.picture, TRIAL, evaluation.images)
        file_of("samples").parent.mkdir(parents=True, exist_ok=True)
        write_pictures(result, imported.evaluator.images, file_of)
        replace_folder(folder.path, SWEEPS / name)
    sync_all(SWEEPS)
