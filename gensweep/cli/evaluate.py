"""`gensweep evaluate`: scores of a finished run, or of images and generators of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gensweep.errors import ConfigError
from gensweep.imported.import_options import ImportedOptions, imported_options
from gensweep.report.completion import run_names
from gensweep.report.output import format_option
from gensweep.rescoring.sampling_axes import OPTIONS, axes_options, parse_axes, print_scores, rescore, subject_of


@click.command()
@click.argument("run", required=False, metavar="[RUN|FOLDER]", shell_complete=run_names)
@axes_options
@click.option("--samples", type=click.IntRange(2), metavar="N", help="Images to score.  [default: as in training]")
@click.option("--seed", type=int, default=0, show_default=True, help="0 is the noise of the evaluations in training.")
@click.option("--metrics", metavar="NAME,...", help="Metrics, such as fd,kid,precision.  [default: as in training]")
@click.option(
    "--against",
    metavar="SPLIT|DIR|FILE.npz",
    help="Compare with train, test, whole, a folder of real pictures or statistics.  [default: as in training]",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw scores against network evaluations, to a .png, .svg or .pdf file.",
)
@imported_options
@format_option
def evaluate(
    run: str | None,
    samples: int | None,
    seed: int,
    metrics: str | None,
    against: str | None,
    picture: Path | None,
    format: str,
    **others: Any,
) -> None:
    """Score a finished run in other ways of sampling, or images of other programs.

    RUN is a run id, a beginning of one, SWEEP (its best trial), SWEEP/TRIAL, or a checkpoint folder. Every combination
    of the settings that are given is tried; the others stay as in training. Results are kept beside the checkpoint and
    under the run in MLflow: what has been tried comes at once, and an interrupted call goes on where it stopped.

    Any other FOLDER is a pipeline of diffusers, or else taken for one of images that another program has drawn; with
    --torchscript its generator draws them. They are evaluated as --like RUN was, or as all runs were if that was the
    same for all, and with --name they are ranked with these by best --compare. A folder that is called like a run is
    meant by ./FOLDER.

    \b
    Examples:
      gensweep evaluate quickstart
      gensweep evaluate ddpm-cifar10 --sampler ddim,heun --steps 10,20,50 --picture steps.png
      gensweep evaluate ddpm-cifar10/t0003 --guidance 1,2,4 --ema 0.25,1,4 --format json
      gensweep evaluate ddpm-cifar10 --samples 5000 --seed 1 --against test --metrics fd,kid,precision,recall
      gensweep evaluate ddpm-cifar10 --samples 50000 --metrics fid --set evaluation.extractor.kind=inception
      gensweep evaluate generated/ --name theirs --like ddpm-cifar10
      gensweep evaluate generated/ --against photos/ --set data.size=64 --samples 1000
      gensweep evaluate pipeline/ --name ddim --call num_inference_steps=50
      gensweep evaluate --torchscript G.pt --trust --latent 512 --classes 10 --name stylegan
    """
    from gensweep.rescoring.sampling_results import check_picture, write_picture

    given = {name: others.pop(name) for name, _, _ in OPTIONS}
    reference = None if against is None else _reference(against)
    wanted = tuple(name.strip() for name in (metrics or "").split(",") if name.strip())
    options = ImportedOptions(**others, against=reference, metrics=wanted)
    if (run is None) == (options.torchscript is None):
        raise click.UsageError(
            "Give one of RUN, FOLDER and --torchscript FILE; for example: gensweep evaluate quickstart"
        )
    if run is None or _is_folder_of_images(run):
        _refuse([f"--{name}" for name, value in [*given.items(), ("picture", picture)] if value], "a run")
        from gensweep.imported.evaluation_command import evaluate_imported

        evaluate_imported(None if run is None else Path(run), options, samples=samples, seed=seed, format=format)
        return
    _refuse(options.given(), f"a folder of images, which {run} is not, or --torchscript")
    axes = parse_axes(given)
    if picture is not None:
        check_picture(picture)
    changed = _changes(options)
    if "evaluation.samples" in changed:
        samples = _samples(changed.pop("evaluation.samples"), samples)
    scores = rescore([subject_of(run, samples=samples, seed=seed, changed=changed)], axes)
    print_scores(scores, format)
    if picture is not None:
        write_picture(scores, picture)
        click.echo(f"Picture: {picture}", err=True)


def _is_folder_of_images(text: str) -> bool:
    """Whether it is a folder, but neither a checkpoint nor the name of a run.  Raises ConfigError for a sweep's."""
    from gensweep.sweep.folder import SETTINGS_FILE
    from gensweep.tracking.runs import is_checkpoint, names_folder

    folder = Path(text)
    if names_folder(text) and (folder / SETTINGS_FILE).is_file():
        name = folder.resolve().name
        raise ConfigError(f"{text} is the folder of a sweep, not of images; name it: gensweep evaluate {name}")
    return names_folder(text) and not is_checkpoint(folder)


def _reference(against: str) -> str:
    """A split, a file of statistics, or a folder by its absolute name with a slash.  Raises ConfigError."""
    if against in ("train", "test", "whole") or against.endswith(".npz"):
        return against
    if not Path(against).is_dir():
        raise ConfigError(
            f"--against {against}: give train, test, whole, a folder of real pictures, or statistics (.npz)"
        )
    return f"{Path(against).resolve()}/"


def _changes(options: ImportedOptions) -> dict[str, Any]:
    """The settings of a run's evaluation that are changed, by dotted key.  Raises ConfigError for other settings."""
    from gensweep.config import parse_overrides

    changes = parse_overrides(options.overrides)
    if other := [key for key in changes if key.partition(".")[0] != "evaluation"]:
        raise ConfigError([f"--set {key}: only evaluation.* says how a run is evaluated" for key in other])
    given = {"evaluation.against": options.against, "evaluation.metrics": list(options.metrics)}
    return changes | {key: value for key, value in given.items() if value}


def _samples(changed: Any, samples: int | None) -> int:
    """The number of images that a setting asks for.  Raises ConfigError if it is none, or --samples says another."""
    if samples is not None:
        raise ConfigError(f"--set evaluation.samples={changed}: --samples {samples} says it, too; leave one out")
    if not isinstance(changed, int) or changed < 2:
        raise ConfigError(f"--set evaluation.samples={changed}: give a whole number from 2, as --samples does")
    return changed


def _refuse(options: list[str], owner: str) -> None:
    if options:
        raise ConfigError(f"{', '.join(options)}: only for {owner}; leave it out")
