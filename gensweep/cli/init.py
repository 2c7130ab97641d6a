"""`gensweep init`: write a file with a search space of gensweep, or with a new space for a folder of pictures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from gensweep.errors import ConfigError


@click.command()
@click.argument("name", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write.  [default: NAME.yaml]",
)
@click.option("--data", metavar="FOLDER", help="Write a space for the pictures in this folder and for this machine.")
@click.option("--time", default="8h", show_default=True, help="With --data: time for the sweep, such as 30min.")
@click.option("--gpu-memory", metavar="SIZE", help="With --data: use less than a GPU has, such as 8GB.")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["quality", "speed"]),
    default="quality",
    show_default=True,
    help="With --data: speed leaves out families that need many steps for an image.",
)
def init(
    name: str | None, output: Path | None, data: str | None, time: str, gpu_memory: str | None, purpose: str
) -> None:
    """Write a search space to a file that you can change: a space of gensweep, or a new space for your pictures.

    Without NAME, lists the spaces. `gensweep tune NAME` runs one unchanged.

    \b
    Examples:
      gensweep init
      gensweep init ddpm -o horses.yaml
      gensweep init --data ./photos --time 8h
    """
    if data is not None:
        if name is not None:
            raise click.UsageError("Give either NAME or --data FOLDER.")
        _for_pictures(data, output, time, gpu_memory, cheap_images=purpose == "speed")
        return
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
    _write(target, text.replace(f"search_spaces/{name}.yaml", shlex.quote(str(target))))
    click.echo(f"Next: gensweep tune {shlex.quote(str(target))} --dry-run", err=True)


def _for_pictures(data: str, output: Path | None, time: str, gpu_memory: str | None, *, cheap_images: bool) -> None:
    """Survey a folder, time this machine, and write a space for both."""
    from gensweep.api.first_space import first_space, space_name
    from gensweep.verdict.amounts import parse_seconds

    seconds = parse_seconds(time, "--time")
    size = re.fullmatch(r"(\d+\.?\d*) ?Gi?B?", gpu_memory or "0GB", re.IGNORECASE)
    if size is None:
        raise ConfigError(f"--gpu-memory: {gpu_memory!r} is no size; give one such as 8GB")
    name = space_name(data)
    target = output or Path(f"{name}.yaml")
    if target.exists():
        raise _exists(target)
    click.echo(f"Looking at {data}, and timing this machine ...", err=True)
    _write(target, first_space(data, seconds, cheap_images=cheap_images, gpu_memory=float(size[1]) * 2**30))
    file = shlex.quote(str(target))
    commands = f"tune {file} --dry-run", f"tune {file} --for {time}", f"best --compare {name}"
    click.echo("\n  gensweep ".join(["Next:", *commands]), err=True)


def _exists(target: Path) -> ConfigError:
    return ConfigError(f"{target} exists already; remove it, or choose another name with -o")


def _write(target: Path, text: str) -> None:
    """Write a new file and print its name.  Raises ConfigError if it exists."""
    try:
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written ({error.strerror}); choose another place with -o") from None
    click.echo(target)
