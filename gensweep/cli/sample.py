"""`gensweep sample`: images from a run or a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.sweep_options import set_option
from gensweep.errors import ConfigError, GensweepError
from gensweep.report.output import format_option, option_bundle, print_rows, print_warnings

if TYPE_CHECKING:
    from gensweep.build.model import Model

#: Most images of one call: with more, their seeds and labels alone need gigabytes.
MAX_COUNT = 10_000_000

#: Options of sampling and of the output.
drawing_options = option_bundle(
    click.option("--class", "class_name", metavar="NAME", help="Only this class (a class-conditional model)."),
    click.option("--seed", type=int, default=0, show_default=True, help="Image i depends only on this seed and i."),
    click.option("--guidance", type=float, metavar="SCALE", help="Classifier-free guidance: 1 is no guidance."),
    click.option(
        "--sampler",
        metavar="KIND",
        help="Another sampler, with its default settings; also set --steps (diffusion).",
    ),
    click.option("--steps", type=click.IntRange(1), help="Sampling steps; the cost grows with them (diffusion)."),
    click.option(
        "--ema",
        metavar="FACTOR",
        help="Averaged weights by a multiple of training.ema_half_life, such as 0.25; raw for none.  [default: 1]",
    ),
    click.option(
        "--adapter",
        "adapters",
        multiple=True,
        metavar="FILE[:SCALE]",
        help="A fine-tuning of RUN (its file or run), times a scale. May be given several times.",
    ),
    click.option(
        "--batch", "batch_size", type=click.IntRange(1), default=64, show_default=True, help="Images at a time."
    ),
    set_option("Change a setting of sampling, for example --set sampler.spacing=log_snr."),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default=Path("samples.png"),
        show_default=True,
        help="A .png file for one grid, or a folder with one file per image.",
    ),
    format_option,
)


@click.command()
@click.argument("run")
@click.option(
    "-n", "--count", type=click.IntRange(1, MAX_COUNT), default=64, show_default=True, help="Number of images."
)
@drawing_options
def sample(run: str, count: int, output: Path, **how: Any) -> None:
    """Generate images from a run or a checkpoint.

    RUN is SWEEP (its best score), SWEEP/TRIAL, a checkpoint folder, such as ./FOLDER, or a registered model.

    \b
    Examples:
      gensweep sample quickstart -n 64 -o digits.png
      gensweep sample ddpm-cifar10/t0003 --class horse --guidance 2 --steps 50
      gensweep sample ddpm-cifar10 --sampler heun --steps 20 --set sampler.churn=10
      gensweep sample models:/digits@champion -n 5000 -o generated/
      gensweep sample ddpm-cifar10 --adapter horse.safetensors:0.7 --adapter dunes.safetensors:0.3
    """
    from gensweep.report.sample_files import check_output

    check_output(output, count)
    draw_near_gpus(draw_samples, run, count, output, **how)


def draw_near_gpus(
    draw: Callable[..., list[Path]],
    run: str,
    count: int,
    output: Path,
    *more: Any,
    class_name: str | None,
    seed: int,
    guidance: float | None,
    sampler: str | None,
    steps: int | None,
    ema: str | None,
    adapters: tuple[str, ...],
    batch_size: int,
    overrides: tuple[str, ...],
    format: str,
) -> None:
    """Generate images with the model of a run by the `drawing_options`, on a GPU if possible, and print the file names.

    `draw` is the name of a function, called like `draw_samples` with `more` after the output; it returns its files.
    """
    from gensweep.config import parse_overrides
    from gensweep.run.near_gpus import ReturnedPath, SentPath, run_near_gpus
    from gensweep.sweep.stored_sweeps import named_trial
    from gensweep.tracking.checkpoints import checkpoint_folder

    named = {"family.guidance": guidance, "sampler.kind": sampler, "sampler.steps": steps}
    given = {key: value for key, value in named.items() if value is not None}
    changes = parse_overrides(overrides) | given
    trial = named_trial(run)
    folder = checkpoint_folder(trial or run)
    _check_family(run if trial is None else trial.name, folder, given)
    started = time.monotonic()
    files = [(SentPath(file), scale) for file, scale in map(_adapter_file, adapters)]
    settings = {"label": class_name, "seed": seed, "batch_size": batch_size}
    names = run_near_gpus(
        draw_files, draw, SentPath(folder), changes, ema, files, settings, count, ReturnedPath(output), *more
    )
    seconds = time.monotonic() - started
    click.echo(f"{count} images in {seconds:.1f} s", err=True)
    print_rows([{"file": str(output.parent / name)} for name in names], format)


def draw_files(
    draw: Callable[..., list[Path]],
    folder: Path,
    changes: dict[str, Any],
    ema: str | None,
    adapters: list[tuple[Path, float]],
    settings: dict[str, Any],
    count: int,
    output: Path,
    *more: Any,
) -> list[str]:
    """Generate images with the model in a checkpoint folder; returns the files, relative to the folder of `output`."""
    from gensweep.build.model import load_checkpoint
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.training.adapters import merge_adapters

    model = load_checkpoint(folder, overrides=changes, weights=ema)
    if adapters:
        names = merge_adapters(model.family, model.class_names, adapters)
        model = replace(model, checkpoint=replace(model.checkpoint, class_names=names))
    print_warnings(sampler_warnings([model.config]))
    written = draw(model, count, output, *more, **settings, progress=_progress)
    return [str(file.relative_to(output.parent)) for file in written]


def draw_samples(model: Model, count: int, output: Path, **drawing: Any) -> list[Path]:
    """Generate images; several classes are sorted by rows."""
    from gensweep.build.model import labels_of
    from gensweep.report.sample_files import write_pictures

    by_class = drawing["label"] is None and model.family.classes > 1
    classes = (labels_of(model, count, None).cpu(), model.class_names) if by_class else None
    return write_pictures(model.sample(count, **drawing), output, classes=classes)


def _adapter_file(text: str) -> tuple[Path, float]:
    """The file and the scale in "FILE", "FILE:0.7" or "RUN:0.7"; a run stands for its best checkpoint's adapter."""
    from gensweep.tracking.checkpoints import checkpoint_folder
    from gensweep.training.adapters import ADAPTER_FILE

    name, colon, number = text.rpartition(":")
    if not colon or Path(text).exists():
        name, number = text, "1"
    try:
        scale = float(number)
    except ValueError:
        message = f"--adapter {text}: {number!r} is not a scale; write FILE:NUMBER, such as {name}:0.7"
        raise ConfigError(message) from None
    if Path(name).is_file():
        return Path(name), scale
    if name.endswith(".safetensors"):
        raise GensweepError(
            f"--adapter {text}: {name} does not exist; a fine-tuning writes {ADAPTER_FILE} to its checkpoints"
        )
    file = checkpoint_folder(name) / ADAPTER_FILE
    if not file.is_file():
        raise GensweepError(f"--adapter {text}: {name} is not a LoRA fine-tuning: it has no {ADAPTER_FILE}")
    return file, scale


def _check_family(name: str, folder: Path, given: dict[str, Any]) -> None:
    """Raises ConfigError for options that models of this family lack, by their command-line names."""
    from gensweep.families.family import FAMILIES
    from gensweep.registry import keywords
    from gensweep.results import family_name
    from gensweep.training.checkpoint import read

    if not given or (family := read(folder).family) not in FAMILIES:
        return
    for key in given:
        setting, how = ("guidance", "without it") if key == "family.guidance" else ("sampler", "in one pass")
        if setting not in keywords(FAMILIES[family]):
            option = {"family.guidance": "guidance", "sampler.kind": "sampler", "sampler.steps": "steps"}[key]
            raise ConfigError(f"--{option}: {name} is a {family_name(family)}, which samples {how}; omit it")


def _progress(done: int, count: int) -> None:
    click.echo(f"\r{done}/{count} images", nl=done == count, err=True)
