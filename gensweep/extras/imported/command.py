"""`gensweep evaluate-images`: scores of images and pipelines of other programs."""

from __future__ import annotations

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


def is_pipeline(folder: Path) -> bool:
    """True if a folder is a diffusers pipeline."""
    return (folder / PIPELINE_FILE).is_file()


@dataclass(frozen=True)
class ImportedOptions:
    """The user's options."""

    folder: Path
    samples: int | None
    seed: int
    metrics: list[str]
    against: str | None
    panel: bool
    name: str | None
    replace: bool
    trust: bool
    classes: int | None
    like: str | None
    overrides: tuple[str, ...]
    call: tuple[str, ...]

    def check(self) -> None:
        """Raise ConfigError for options that do not fit together or do not fit the input."""
        if not self.folder.exists():
            raise ConfigError(f"{self.folder} does not exist; name a folder of pictures, or a pipeline of diffusers")
        problems = [
            f"--{name}: does not apply to a folder of pictures; leave it out"
            for name in ("seed", "trust", "classes", "call")
            if getattr(self, name) and not is_pipeline(self.folder)
        ]
        if self.replace and self.name is None:
            problems.append("--replace needs --name NAME")
        if problems:
            raise ConfigError(problems)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@scoring_options
@click.option("--name", help="Save the score under this name, for best --compare.")
@click.option("--replace", is_flag=True, help="With --name: replace an earlier entry.")
@click.option("--trust", is_flag=True, help="Run the code of a pipeline, with your permissions.")
@click.option("--call", multiple=True, metavar="KEY=VALUE", help="Pipeline argument, such as num_inference_steps=50.")
@click.option("--classes", type=click.IntRange(1), metavar="K", help="Number of labels of a pipeline.")
@click.option("--like", metavar="RUN", help="Evaluate with the settings of this run.")
@set_option("Change one value of data or evaluation.")
@format_option
def evaluate_images(format: str, against: str | None, **given: Any) -> None:
    """Score images and pipelines of other programs like your runs.

    FOLDER holds images, or a pipeline of diffusers. They are evaluated as --like RUN was, or as all runs were if these
    agree. With --name, best --compare ranks the result with your runs.

    \b
    Examples:
      gensweep evaluate-images generated/ --name theirs --like ddpm-cifar10
      gensweep evaluate-images generated/ --against photos/ --set data.size=64 --samples 1000
      gensweep evaluate-images generated/ --panel --like ddpm-cifar10
      gensweep evaluate-images pipeline/ --name ddim --call num_inference_steps=50
    """
    options = ImportedOptions(**given, against=reference_of(against))
    options.check()
    from gensweep.extras.imported.evaluation_command import evaluate_imported

    evaluate_imported(options, format)
