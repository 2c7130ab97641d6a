"""The options of `gensweep evaluate` that are for images and generators of other programs alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import click

from gensweep.errors import ConfigError
from gensweep.report.output import option_bundle

#: The file that makes a folder a pipeline of diffusers.
PIPELINE_FILE = "model_index.json"


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is a pipeline of diffusers."""
    return (folder / PIPELINE_FILE).is_file()


@dataclass(frozen=True)
class ImportedOptions:
    """The options that are for imported images alone, as the user gave them."""

    name: str | None
    replace: bool
    torchscript: Path | None
    trust: bool
    latent: tuple[int, ...] | None
    classes: int | None
    output_range: tuple[float, float] | None
    like: str | None
    config: Path | None
    suspects: Path | None
    overrides: tuple[str, ...]
    call: tuple[str, ...] = ()
    against: str | None = None
    metrics: tuple[str, ...] = ()

    def given(self) -> list[str]:
        """Those that were given and belong to imported images alone, as one would type them."""
        return [
            f"--{key.replace('_', '-')}"
            for key, value in vars(self).items()
            if value and key not in ("against", "metrics", "overrides")
        ]

    def check(self, folder: Path | None, seed: int) -> None:
        """Raise ConfigError for options that do not fit together, or not to a folder or its absence."""
        problems = []
        pipeline = folder is not None and is_pipeline(folder)
        if self.call and not pipeline:
            problems.append("--call is for a pipeline of diffusers, a folder with model_index.json; leave it out")
        if folder is not None:
            of_generators = ("latent", "output_range") if pipeline else ("trust", "latent", "classes", "output_range")
            problems += [
                f"--{name.replace('_', '-')} belongs to a generator: give --torchscript FILE instead of a folder"
                for name in of_generators
                if getattr(self, name) not in (None, False)
            ]
        if folder is not None and not pipeline:
            problems += [f"--seed {seed}: the pictures of a folder are drawn already; leave it out"] if seed else []
        if folder is None and self.latent is None:
            problems.append("--torchscript needs the length of z, or its shape: --latent 512")
        if self.torchscript is not None and not self.trust:
            problems.append(
                f"--torchscript {self.torchscript}: to load it is to run the code in it, with all that you may do; add "
                "--trust if you trust those who made it"
            )
        if self.like is not None and self.config is not None:
            problems.append("--like and --config both say how to evaluate; leave one of them out")
        if self.suspects is not None and self.suspects.suffix.lower() != ".png":
            problems.append(f"--suspects {self.suspects}: the name must end in .png")
        if self.replace and self.name is None:
            problems.append("--replace needs --name NAME")
        if problems:
            raise ConfigError(problems)


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


FILE = click.Path(path_type=Path, dir_okay=False)
#: The options of `ImportedOptions`, handed to the command one by one.
imported_options = option_bundle(
    click.option("--name", help="File the score of FOLDER or --torchscript in MLflow, for best --compare."),
    click.option("--replace", is_flag=True, help="With --name: put it in the place of what was filed before."),
    click.option("--torchscript", type=FILE, metavar="FILE", help="Score an exported generator; see --trust."),
    click.option(
        "--trust", is_flag=True, help="Run the code in --torchscript or a pipeline folder, with all that you may do."
    ),
    click.option(
        "--call",
        multiple=True,
        metavar="KEY=VALUE",
        help="Argument of a diffusers pipeline, as num_inference_steps=50.",
    ),
    click.option(
        "--latent", callback=_latent, metavar="N[,N...]", help="With --torchscript: shape of z, as 512 or 100,1,1."
    ),
    click.option(
        "--classes", type=click.IntRange(1), metavar="K", help="With --torchscript or a pipeline: it takes labels, too."
    ),
    click.option(
        "--output-range",
        callback=_range,
        metavar="LOW,HIGH",
        help="With --torchscript: what black and white are.  [default: -1,1]",
    ),
    click.option("--like", metavar="RUN", help="Evaluate FOLDER or --torchscript as this run was."),
    click.option("--config", type=FILE, metavar="FILE", help="... or by the data and evaluation of this YAML file."),
    click.option(
        "--suspects",
        type=FILE,
        metavar="FILE",
        help="With the metric authpct: draw the likeliest copies beside their originals, to a .png file.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="One value of evaluation changed, or, but for a run, of data.",
    ),
)
