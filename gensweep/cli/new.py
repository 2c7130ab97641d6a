"""`gensweep new`: start a plug-in from a working file and its test."""

from __future__ import annotations

import importlib.util
import keyword
import shlex
from importlib import resources
from pathlib import Path
from string import Template

import click

from gensweep.errors import ConfigError
from gensweep.files import write_text
from gensweep.report.output import print_remark

#: Kinds of plug-ins, and the registry of each.
STARTERS = {
    "schedule": ("gensweep.diffusion.schedules", "SCHEDULES"),
    "network": ("gensweep.nn.networks", "DENOISERS"),
    "dataset": ("gensweep.data.images", "DATASETS"),
    "sampler": ("gensweep.diffusion.samplers.sampler", "SAMPLERS"),
    "family": ("gensweep.families.family", "FAMILIES"),
    "metric": ("gensweep.metrics.metric", "METRICS"),
}


@click.command()
@click.argument("kind", type=click.Choice(list(STARTERS)))
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="Folder for the files.  [default: the current folder]",
)
def new(kind: str, name: str, output: Path) -> None:
    """Start your own schedule, network, data set, sampler, family or metric.

    Writes NAME.py, which works unchanged, and test_NAME.py. See docs/plugins.md.

    \b
    Examples:
      gensweep new schedule exponential
      gensweep tune space.yaml --import exponential.py --set diffusion.schedule.kind=exponential
      gensweep new metric sharpness
      gensweep new dataset photos -o plugins
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ConfigError(f"{name!r} cannot name a Python module; use letters, digits and _, such as my_{kind}")
    files = {output / f"{name}.py": f"{kind}.py.txt", output / f"test_{name}.py": f"{kind}_test.py.txt"}
    for file in files:
        if file.exists():
            raise ConfigError(f"{file} exists already; choose another name, or another folder with --output")
    module, registry = STARTERS[kind]
    if name in getattr(importlib.import_module(module), registry):
        raise ConfigError(f"{name!r} is already a {kind}; choose another name, such as my_{name}")
    if importlib.util.find_spec(name) is not None:
        raise ConfigError(f"{name!r} is already an installed module; choose another name, such as my_{name}")
    for file, starter in files.items():
        text = (resources.files("gensweep.cli") / "starters" / starter).read_text(encoding="utf-8")
        write_text(file, Template(text).substitute(name=name))
        click.echo(file)
    print_remark("Next:", shlex.join(["pytest", str(output / f"test_{name}.py")]))
