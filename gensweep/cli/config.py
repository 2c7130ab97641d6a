"""`gensweep config`: validate configurations, print their JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gensweep.cli.sweep_options import override_options
from gensweep.errors import ConfigError
from gensweep.report.output import print_warnings


@click.group()
def config() -> None:
    """Validate configurations; JSON Schema for editors.

    \b
    Examples:
      gensweep config validate search_spaces/*.yaml
      gensweep config schema > sweep.schema.json
    """


@config.command()
@click.argument("files", nargs=-1, required=True)
@override_options
def validate(files: tuple[str, ...], overrides: tuple[str, ...], scale: str | None) -> None:
    """Check files, the corners of their search spaces and all of their scales; shows every problem.

    \b
    Examples:
      gensweep config validate search_spaces/*.yaml
      gensweep config validate search_spaces/ddpm.yaml --set seed=1
    """
    from gensweep.shipped import space_file

    problems: list[str] = []
    for file in files:
        try:
            click.echo(_check(space_file(file), overrides, scale))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _check(file: Path, overrides: tuple[str, ...], scale: str | None) -> str:
    """A line about a valid file.  Raises ConfigError with all of its problems."""
    from gensweep.build.sampler_warnings import sampler_warnings
    from gensweep.config import TrialConfig, is_sweep, load_sweep, load_trial, scale_names

    if not is_sweep(file):
        print_warnings(sampler_warnings([load_trial(file, overrides=overrides, scale=scale)]))
        return f"{file}: a valid trial"
    scales, trials, problems = scale_names(file), list[TrialConfig](), dict[str, None]()
    for each in [scale] if scale is not None else [None, *scales]:
        try:
            trials += load_sweep(file, overrides=overrides, scale=each).corners
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    print_warnings(sampler_warnings(trials))
    if problems:
        raise ConfigError(list(problems))
    return f"{file}: a valid sweep (scales: {', '.join(scales) or 'none'})"


@config.command()
def schema() -> None:
    """Print the JSON Schema of a sweep's file, for editors.

    \b
    Examples:
      gensweep config schema > sweep.schema.json
    In an editor with yaml-language-server, name it in the first line of a YAML file:
      # yaml-language-server: $schema=sweep.schema.json
    """
    from gensweep.config.json_schema import sweep_schema

    click.echo(json.dumps(sweep_schema(), indent=2))
