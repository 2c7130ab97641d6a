"""`gensweep sample`: images from a run or a checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.sweep_options import set_option
from gensweep.editing.picture_options import EditingOptions, editing_options
from gensweep.errors import ConfigError
from gensweep.report.completion import run_names, sampler_names
from gensweep.report.output import format_option, print_rows, print_warnings

if TYPE_CHECKING:
    from gensweep.build.model import Model
    from gensweep.editing.drawing import Pictures

#: Images that are drawn at once at most; the numbers of their seeds and labels alone take gigabytes with more.
MAX_COUNT = 10_000_000


@click.command()
@click.argument("run", shell_complete=run_names)
@click.option(
    "-n", "--count", type=click.IntRange(1, MAX_COUNT), help="How many images.  [default: 64; 8 with --init-image]"
)
@click.option("--class", "class_name", metavar="NAME", help="Only this class (a class-conditional model).")
@click.option("--seed", type=int, default=0, show_default=True, help="Image i depends on this seed and i alone.")
@click.option("--guidance", type=float, metavar="SCALE", help="Classifier-free guidance: 1 is plain conditional.")
@click.option(
    "--sampler",
    metavar="KIND",
    shell_complete=sampler_names,
    help="Another sampler, with its own settings: give --steps too (diffusion).",
)
@click.option("--steps", type=click.IntRange(1), help="Noise levels to visit: what an image costs (diffusion).")
@editing_options
@click.option(
    "--ema",
    metavar="FACTOR",
    help="Averaged weights by a multiple of training.ema_half_life, such as 0.25; raw for none.  [default: 1]",
)
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="FILE[:SCALE]",
    help="What a fine-tuning of RUN has learnt (or its run), times a scale. May be given several times.",
)
@click.option("--batch", "batch_size", type=click.IntRange(1), default=64, show_default=True, help="Images at a time.")
@set_option("Change a setting of sampling, for example --set sampler.spacing=log_snr.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("samples.png"),
    show_default=True,
    help="A .png file for one grid, or a folder for one file an image.",
)
@format_option
def sample(
    run: str,
    count: int | None,
    class_name: str | None,
    seed: int,
    guidance: float | None,
    sampler: str | None,
    steps: int | None,
    ema: str | None,
    adapters: tuple[str, ...],
    batch_size: int,
    overrides: tuple[str, ...],
    output: Path,
    format: str,
    **editing: Any,
) -> None:
    """Draw images from a run or a checkpoint.

    RUN is a run id, a beginning of one, SWEEP (its best trial), SWEEP/TRIAL, or a checkpoint folder, such as ./FOLDER.

    \b
    Examples:
      gensweep sample quickstart -n 64 -o digits.png
      gensweep sample ddpm-cifar10/t0003 --class horse --guidance 2 --steps 50
      gensweep sample ddpm-cifar10 --sampler heun --steps 20 --set sampler.churn=10
      gensweep sample 3f2a9c -n 5000 -o generated/
      gensweep sample ddpm-cifar10 --adapter horse.safetensors:0.7 --adapter dunes.safetensors:0.3
      gensweep sample ddpm-cifar10 --init-image car.jpg --strength 0.6 --class ship
      gensweep sample ddpm-cifar10 --init-image car.jpg --inpaint mask.png --rounds 10
      gensweep sample ddpm-cifar10 --init-image car.jpg --interpolate ship.jpg -n 9
    """
    from gensweep.config import parse_overrides
    from gensweep.finetuning.adapter_files import adapter_file
    from gensweep.report.sample_files import check_output
    from gensweep.sweep.cluster_task import ReturnedPath, SentPath, run_near_gpus
    from gensweep.tracking.runs import checkpoint_folder

    options = EditingOptions(**editing)
    count = count or (8 if options.init_image else 64)
    check_output(output, count, options.files())
    pictures = options.read()
    named = {"family.guidance": guidance, "sampler.kind": sampler, "sampler.steps": steps}
    changes = parse_overrides(overrides) | {key: value for key, value in named.items() if value is not None}
    started = time.monotonic()
    files = [(SentPath(file), scale) for file, scale in map(adapter_file, adapters)]
    settings = {"label": class_name, "seed": seed, "batch_size": batch_size}
    names = run_near_gpus(
        draw_files,
        SentPath(checkpoint_folder(run)),
        changes,
        ema,
        files,
        pictures,
        count,
        settings,
        ReturnedPath(output),
    )
    seconds = time.monotonic() - started
    click.echo(f"{count} images in {seconds:.1f} s", err=True)
    print_rows([{"file": str(output.parent / name)} for name in names], format)


def draw_files(
    folder: Path,
    changes: dict[str, Any],
    ema: str | None,
    adapters: list[tuple[Path, float]],
    pictures: Pictures | None,
    count: int,
    settings: dict[str, Any],
    output: Path,
) -> list[str]:
    """Draw images with the model in a checkpoint folder; returns the files, as seen from the folder of `output`.

    Raises ConfigError for settings that the model does not have.
    """
    from gensweep.api.trained import load
    from gensweep.build.model import check_guidance, labels_of
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.editing.drawing import draw_from_pictures
    from gensweep.finetuning.adapters import with_adapters
    from gensweep.report.sample_files import write_pictures

    model = load(folder, overrides=changes, weights=ema)
    if adapters:
        model = with_adapters(model, adapters)
    check_guidance(changes, model.family)
    if pictures is not None and pictures.other is not None and settings["label"] is None:
        _check_unlabelled(changes)
    _note_lost_settings(model, changes)
    print_warnings(sampler_warnings([model.config]))
    drawing: Any = {**settings, "progress": _progress}
    if pictures is None:
        by_class = settings["label"] is None and model.family.classes > 1
        classes = (labels_of(model, count, None).cpu(), model.checkpoint.class_names) if by_class else None
        written = write_pictures(model.sample(count, **drawing), output, classes=classes)
    else:
        before, images, after = draw_from_pictures(model, pictures, count, **drawing)
        written = write_pictures(images, output, before=before, after=after)
    return [str(file.relative_to(output.parent)) for file in written]


def _check_unlabelled(changes: dict[str, Any]) -> None:
    """Raises ConfigError for guidance where no label is asked for."""
    if any(key.startswith("family.guidance") for key in changes):
        raise ConfigError(
            "guidance: without a class an interpolation asks without a label; add --class, or leave it out"
        )


def _note_lost_settings(model: Model, changes: dict[str, Any]) -> None:
    """Another sampler begins with its own settings: name those chosen for the training that it does not take over."""
    from gensweep.config import TrialConfig

    if "sampler.kind" not in changes:
        return
    trained = TrialConfig.from_dict(model.checkpoint.metadata)
    old, new = trained.as_dict()["sampler"], model.config.as_dict()["sampler"]
    defaults = trained.with_overrides({"sampler": {"kind": old["kind"]}}).as_dict()["sampler"]
    lost = {name: old[name] for name in old if name in new and old[name] not in (defaults[name], new[name])}
    if words := ", ".join(f"{name}={value}" for name, value in lost.items() if f"sampler.{name}" not in changes):
        click.echo(
            f"Note: {new['kind']} begins with settings of its own, without the {words} of {old['kind']}; "
            f"give {'--steps N or ' if 'steps' in lost else ''}--set sampler.KEY=VALUE",
            err=True,
        )


def _progress(done: int, count: int) -> None:
    click.echo(f"\r{done}/{count} images", nl=done == count, err=True)
