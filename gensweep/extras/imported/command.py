"""`gensweep evaluate-images`: scores of images and generators of other programs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gensweep.cli.evaluate import reference_of, scoring_options
from gensweep.cli.sweep_options import set_option
from gensweep.errors import ConfigError
from gensweep.report.output import format_option

#: The file that marks a diffusers pipeline folder.
PIPELINE_FILE = "model_index.json"
FILE = click.Path(path_type=Path, dir_okay=False)
#: Kinds of input, and the options that each accepts in addition to the common ones.
PICTURES, PIPELINE, GENERATOR = "a folder of pictures", "a pipeline of diffusers", "an exported generator"
USED: dict[str, tuple[str, ...]] = {
    PICTURES: (),
    PIPELINE: ("seed", "trust", "classes", "call"),
    GENERATOR: ("seed", "trust", "classes", "latent", "output_range"),
}


def is_pipeline(folder: Path) -> bool:
    """True if a folder is a diffusers pipeline."""
    return (folder / PIPELINE_FILE).is_file()


@dataclass(frozen=True)
class ImportedOptions:
    """The user's options."""

    folder: Path | None
    samples: int | None
    seed: int
    metrics: list[str]
    against: str | None
    name: str | None
    replace: bool
    torchscript: Path | None
    trust: bool
    latent: tuple[int, ...] | None
    classes: int | None
    output_range: tuple[float, float] | None
    like: str | None
    overrides: tuple[str, ...]
    call: tuple[str, ...]

    def check(self) -> None:
        """Raise ConfigError for options that do not fit together or do not fit the input."""
        if (self.folder is None) == (self.torchscript is None):
            raise click.UsageError("Give either FOLDER or --torchscript FILE: gensweep evaluate-images generated/")
        if (given := self.folder or self.torchscript) and not given.exists():
            raise ConfigError(f"{given} does not exist; name a folder, or a file with --torchscript")
        source = GENERATOR
        if self.folder is not None:
            source = PIPELINE if is_pipeline(self.folder) else PICTURES
        problems = [
            f"--{name.replace('_', '-')}: does not apply to {source}; leave it out"
            for name in ("seed", "trust", "classes", "latent", "output_range", "call")
            if getattr(self, name) and name not in USED[source]
        ]
        if self.torchscript is not None and self.latent is None:
            problems.append("--torchscript needs the length of z, or its shape: --latent 512")
        if self.torchscript is not None and not self.trust:
            problems.append(
                f"--torchscript {self.torchscript}: loading it runs its code with your permissions; add "
                "--trust if you trust its authors"
            )
        if self.replace and self.name is None:
            problems.append("--replace needs --name NAME")
        if problems:
            raise ConfigError(problems)


def _latent(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Shape of z, from a text such as "512" or "100,1,1"."""
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise click.BadParameter(f"{text}: give positive integers, such as 512 or 100,1,1")
    return tuple(map(int, text.split(",")))


def _range(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, float] | None:
    """Two numbers, from a text such as "0,255"."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise click.BadParameter(f"{text}: give two ascending numbers, such as 0,1 or 0,255")
    return low, high


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@scoring_options
@click.option("--name", help="Save the score of FOLDER or --torchscript under this name, for best --compare.")
@click.option("--replace", is_flag=True, help="With --name: replace an earlier entry.")
@click.option("--torchscript", type=FILE, metavar="FILE", help="Score an exported generator; see --trust.")
@click.option("--trust", is_flag=True, help="Run code of --torchscript or a pipeline, with your permissions.")
@click.option("--call", multiple=True, metavar="KEY=VALUE", help="Pipeline argument, such as num_inference_steps=50.")
@click.option("--latent", callback=_latent, metavar="N[,N...]", help="With --torchscript: shape of z, 512 or 100,1,1.")
@click.option("--classes", type=click.IntRange(1), metavar="K", help="Number of labels of --torchscript or a pipeline.")
@click.option("--output-range", callback=_range, metavar="LOW,HIGH", help="Values of black and white.  [default: -1,1]")
@click.option("--like", metavar="RUN", help="Evaluate with the settings of this run.")
@set_option("Change one value of data or evaluation.")
@format_option
def evaluate_images(format: str, against: str | None, **given: Any) -> None:
    """Score images and generators of other programs like your runs.

    FOLDER holds images, or a pipeline of diffusers; --torchscript names an exported generator. The evaluation settings
    are those of --like RUN, or of all runs if they agree. With --name, best --compare ranks the result with your runs.

    \b
    Examples:
      gensweep evaluate-images generated/ --name theirs --like ddpm-cifar10
      gensweep evaluate-images generated/ --against photos/ --set data.size=64 --samples 1000
      gensweep evaluate-images pipeline/ --name ddim --call num_inference_steps=50
      gensweep evaluate-images --torchscript G.pt --trust --latent 512 --classes 10 --name stylegan
    """
    options = ImportedOptions(**given, against=reference_of(against))
    options.check()
    from gensweep.extras.imported.evaluation_command import evaluate_imported

    evaluate_imported(options, format)
