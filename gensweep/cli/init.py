"""`gensweep init`: copy a search space that comes with gensweep to a file of yours."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gensweep.errors import ConfigError
from gensweep.report.completion import shipped_names


@click.command()
@click.argument("name", required=False, shell_complete=shipped_names)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write.  [default: NAME.yaml]",
)
def init(name: str | None, output: Path | None) -> None:
    """Write a search space that comes with gensweep to a file that you can change.

    Without NAME, lists the spaces. `gensweep tune NAME` runs one unchanged.

    \b
    Examples:
      gensweep init
      gensweep init ddpm
      gensweep init ddpm -o horses.yaml
    """
    from gensweep.shipped import PURPOSES, SCHEMA_LINE, shipped_spaces, space_file, title

    spaces = shipped_spaces()
    if name is None:
        if output is not None:
            raise click.UsageError(f"Which space? For example: gensweep init ddpm -o {shlex.quote(str(output))}")
        longest = max(map(len, spaces))
        for purpose, names in PURPOSES.items():
            click.echo(purpose)
            for each in names:
                click.echo(f"  {each.ljust(longest)}  {title(spaces[each])}")
        return
    if name not in spaces:
        raise ConfigError(f"{space_file(name)}: choose a space that comes with gensweep: {', '.join(spaces)}")
    target = output or Path(f"{name}.yaml")
    lines = spaces[name].read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith(SCHEMA_LINE)) + "\n"
    try:
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text.replace(f"search_spaces/{name}.yaml", shlex.quote(str(target))))
    except FileExistsError:
        raise ConfigError(f"{target} exists already; remove it, or choose another name with -o") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written ({error.strerror}); choose another place with -o") from None
    click.echo(target)
    click.echo(f"Next: gensweep tune {shlex.quote(str(target))} --dry-run", err=True)
