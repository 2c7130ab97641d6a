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

#: The file that makes a folder a pipeline of diffusers.
PIPELINE_FILE = "model_index.json"
FILE = click.Path(path_type=Path, dir_okay=False)
#: What can be scored, and the options that it takes beside those of all.
PICTURES, PIPELINE, GENERATOR = "a folder of pictures", "a pipeline of diffusers", "an exported generator"
USED: dict[str, tuple[str, ...]] = {
    PICTURES: (),
    PIPELINE: ("seed", "trust", "classes", "call"),
    GENERATOR: ("seed", "trust", "classes", "latent", "output_range"),
}


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is a pipeline of diffusers."""
    return (folder / PIPELINE_FILE).is_file()


@dataclass(frozen=True)
class ImportedOptions:
    """The options, as the user gave them."""

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
        """Raise ConfigError for options that do not fit together, or not to a folder or its absence."""
        if (self.folder is None) == (self.torchscript is None):
            raise click.UsageError("Give either FOLDER or --torchscript FILE: gensweep evaluate-images generated/")
        if (given := self.folder or self.torchscript) and not given.exists():
            raise ConfigError(f"there is no {given}; name a folder, or a file with --torchscript")
        source = GENERATOR
        if self.folder is not None:
            source = PIPELINE if is_pipeline(self.folder) else PICTURES
        problems = [
            f"--{name.replace('_', '-')}: of no use for {source}; leave it out"
            for name in ("seed", "trust", "classes", "latent", "output_range", "call")
            if getattr(self, name) and name not in USED[source]
        ]
        if self.torchscript is not None and self.latent is None:
            problems.append("--torchscript needs the length of z, or its shape: --latent 512")
        if self.torchscript is not None and not self.trust:
            problems.append(
                f"--torchscript {self.torchscript}: to load it is to run the code in it, with all that you may do; add "
                "--trust if you trust those who made it"
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
        raise click.BadParameter(f"{text}: give whole numbers from 1, such as 512 or 100,1,1")
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
        raise click.BadParameter(f"{text}: give two numbers that rise, such as 0,1 or 0,255")
    return low, high


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@scoring_options
@click.option("--name", help="File the score of FOLDER or --torchscript beside the sweeps, for best --compare.")
@click.option("--replace", is_flag=True, help="With --name: put it in the place of what was filed before.")
@click.option("--torchscript", type=FILE, metavar="FILE", help="Score an exported generator; see --trust.")
@click.option("--trust", is_flag=True, help="Run the code in --torchscript or a pipeline, with all that you may do.")
@click.option("--call", multiple=True, metavar="KEY=VALUE", help="Argument of a pipeline, as num_inference_steps=50.")
@click.option("--latent", callback=_latent, metavar="N[,N...]", help="With --torchscript: shape of z, 512 or 100,1,1.")
@click.option("--classes", type=click.IntRange(1), metavar="K", help="Labels that --torchscript or a pipeline takes.")
@click.option("--output-range", callback=_range, metavar="LOW,HIGH", help="What black and white are.  [default: -1,1]")
@click.option("--like", metavar="RUN", help="Evaluate FOLDER or --torchscript as this run was.")
@set_option("One value of data or evaluation changed.")
@format_option
def evaluate_images(format: str, against: str | None, **given: Any) -> None:
    """Score images and generators of other programs as your runs were.

    FOLDER holds images, or a pipeline of diffusers; with --torchscript a generator draws them. They are evaluated as
    --like RUN was, or as all runs were if that was the same for all, and with --name they are ranked with these by
    best --compare.

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
